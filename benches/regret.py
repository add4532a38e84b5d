"""Statistics of a choice among candidates: regret, rank correlation, intervals over entities.

A table of right answers is `right[candidate][question]`, 1 or 0 (or a share); `entity[question]` names what
a question is about. Questions about one entity stand or fall together, so halves and resamples are made of
entities.
"""
import random
import statistics

HALVINGS = 10
RESAMPLES = 500


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def interval(values):
    """The middle 95% of the values."""
    values = sorted(values)
    return [values[int(0.025 * len(values))], values[min(int(0.975 * len(values)), len(values) - 1)]]


def by_entity(right, entity):
    """For each candidate, by entity: the sum of its right answers and the number of questions."""
    names = sorted(set(entity))
    places = {name: [q for q, e in enumerate(entity) if e == name] for name in names}
    sums = {c: [sum(row[q] for q in places[name]) for name in names] for c, row in right.items()}
    return sums, [len(places[name]) for name in names]


def halvings(n, seed=1):
    """Ways to halve `n` entities."""
    rng = random.Random(seed)
    for _ in range(HALVINGS):
        order = list(range(n))
        rng.shuffle(order)
        yield order[: n // 2], order[n // 2 :]


def regret(right, entity, chosen, candidates=None):
    """How far `chosen` is below the best candidate, with a 95% interval.

    The best candidate is found on one half of the entities and compared on the other: the best of many on
    the same questions would be too good by chance. Both halves take both parts, and several halvings are
    averaged.
    """
    candidates = list(candidates or right)
    sums, sizes = by_entity({c: right[c] for c in {*candidates, chosen}}, entity)
    halves = list(halvings(len(sizes)))

    def once(weights):
        found = []
        for a, b in halves:
            for find, test in ((a, b), (b, a)):
                n = sum(weights[e] * sizes[e] for e in test)
                if not n or not any(weights[e] for e in find):
                    continue
                best = max(candidates, key=lambda c: sum(weights[e] * sums[c][e] for e in find))
                found.append(sum(weights[e] * (sums[best][e] - sums[chosen][e]) for e in test) / n)
        return mean(found)

    return {"regret": once([1] * len(sizes)), "interval": interval(resampled(len(sizes), once))}


def difference(a, b, entity):
    """Mean of `a` minus mean of `b`, question by question, with a 95% interval."""
    sums, sizes = by_entity({"a": a, "b": b}, entity)

    def once(weights):
        n = sum(w * size for w, size in zip(weights, sizes))
        return sum(w * (x - y) for w, x, y in zip(weights, sums["a"], sums["b"])) / n

    return {"difference": once([1] * len(sizes)), "interval": interval(resampled(len(sizes), once))}


def resampled(n, statistic, seed=2):
    """The statistic of entities drawn with replacement."""
    rng = random.Random(seed)
    for _ in range(RESAMPLES):
        weights = [0] * n
        for _ in range(n):
            weights[rng.randrange(n)] += 1
        yield statistic(weights)


def ranks(values):
    """Ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    found, start = [0.0] * len(values), 0
    while start < len(order):
        end = start
        while end < len(order) and values[order[end]] == values[order[start]]:
            end += 1
        for place in order[start:end]:
            found[place] = (start + end + 1) / 2
        start = end
    return found


def spearman(a, b):
    """Rank correlation; None where either does not vary."""
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    x, y = ranks(a), ranks(b)
    mx, my = statistics.mean(x), statistics.mean(y)
    sxy = sum((i - mx) * (j - my) for i, j in zip(x, y))
    sxx, syy = sum((i - mx) ** 2 for i in x), sum((j - my) ** 2 for j in y)
    return sxy / (sxx * syy) ** 0.5
