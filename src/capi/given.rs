//! Values of params structs as options of the library.

use std::ffi::c_char;

use super::failure::Failure;
use super::text::{NUL_TERMINATED, text};
use crate::options::{OptionGroup, OptionInfo, OptionKind};

/// The value of one member.
#[derive(Debug)]
pub(super) enum Given<'a> {
    Count(u64),
    Real(f64),
    /// A switch, or the number of an enum's value.
    Number(i32),
    Text(Option<&'a str>),
    Texts(Vec<&'a str>),
}

/// The members of a params struct that are options, by name.
#[derive(Debug)]
pub(super) struct GivenOptions<'a>(pub Vec<(&'static str, Given<'a>)>);

impl GivenOptions<'_> {
    /// The options of the group `G`, checked. 0 and NULL stand for the default, except where 0 is a value
    /// like others.
    pub fn read<G: OptionGroup>(&self) -> Result<G, Failure> {
        let mut group = G::default();
        for option in G::OPTIONS {
            if let Some((_, given)) = self.0.iter().find(|(name, _)| *name == option.name) {
                set(&mut group, option, given)?;
            }
        }
        group.check()?;
        Ok(group)
    }
}

fn set<G: OptionGroup>(group: &mut G, option: &OptionInfo, given: &Given) -> Result<(), Failure> {
    let text = match given {
        Given::Count(0) if option.zero_is_default() => return Ok(()),
        Given::Real(0.0) if option.zero_is_default() => return Ok(()),
        Given::Text(None) => return Ok(()),
        Given::Texts(texts) if texts.is_empty() => return Ok(()),
        Given::Texts(texts) => return Ok(group.set(option.name, texts)?),
        Given::Count(count) => count.to_string(),
        Given::Real(number) => number.to_string(),
        Given::Text(Some(text)) => text.to_string(),
        Given::Number(number) => match option.kind {
            OptionKind::Switch => (*number != 0).to_string(),
            _ => {
                let values = option.values();
                let value = usize::try_from(*number).ok().and_then(|at| values.get(at));
                let expected = || match option.kind {
                    OptionKind::Choice(info) => {
                        format!("expected an sn_{}, 0 to {}", info.name, values.len() - 1)
                    }
                    _ => "expected none".into(),
                };
                let (name, _) = value.ok_or_else(|| {
                    let name = format!("params.{}", option.name);
                    Failure::argument(&name, format!("is {number}, {}", expected()))
                })?;
                name.to_string()
            }
        },
    };
    Ok(group.set(option.name, &[&text])?)
}

/// `count` texts of the member `name`, each as long as `lens` has it, or ending in NUL where `lens` is
/// NULL.
///
/// # Safety
/// Each array that is not NULL has `count` elements, and each text is as its length says.
pub(super) unsafe fn texts<'a>(
    name: &str,
    data: *const *const c_char,
    lens: *const usize,
    count: usize,
) -> Result<Vec<&'a str>, Failure> {
    if count > 0 && data.is_null() {
        return Err(Failure::argument(name, "is NULL, but its count is not 0"));
    }
    let each = (0..count).map(|i| {
        // SAFETY: `count` elements in each array that is not NULL, by this function's contract.
        unsafe {
            let len = if lens.is_null() { NUL_TERMINATED } else { *lens.add(i) };
            text(name, *data.add(i), len)
        }
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::options::sn_train_params;
    use crate::capi::options::{sn_answer_params, sn_curate_params, sn_distill_params, sn_evaluate_params};
    use crate::capi::params::Params;

    /// The group as `params` fill it when init alone has been called.
    fn of_init<G: OptionGroup>(given: Result<GivenOptions, Failure>) -> G {
        given.and_then(|given| given.read()).unwrap()
    }

    #[test]
    fn what_init_fills_in_are_the_defaults_of_the_library() {
        use crate::EngineOptions;
        use crate::answer::RoutingOptions;
        use crate::distill::{CurateOptions, DataMix};
        use crate::evaluate::Acceptance;
        use crate::train::TrainOptions;

        // SAFETY: no pointer is set.
        unsafe {
            assert_eq!(of_init::<TrainOptions>(sn_train_params::DEFAULT.given()), TrainOptions::default());
            assert_eq!(of_init::<DataMix>(sn_train_params::DEFAULT.given()), DataMix::default());
            assert_eq!(of_init::<TrainOptions>(sn_distill_params::DEFAULT.given()), TrainOptions::default());
            assert_eq!(of_init::<Acceptance>(sn_distill_params::DEFAULT.given()), Acceptance::default());
            assert_eq!(of_init::<Acceptance>(sn_evaluate_params::DEFAULT.given()), Acceptance::default());
            assert_eq!(of_init::<CurateOptions>(sn_curate_params::DEFAULT.given()), CurateOptions::default());
            assert_eq!(of_init::<EngineOptions>(sn_answer_params::DEFAULT.given()), EngineOptions::default());
            assert_eq!(
                of_init::<RoutingOptions>(sn_answer_params::DEFAULT.given()),
                RoutingOptions::default()
            );
        }
    }
}
