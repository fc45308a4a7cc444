//! Facet filters of a list: `section:web` strings to what the index is asked.

use kernel::{Error, Result, Violation};

use crate::forms::EntityForm;

/// Any of `values` in one facet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetFilter {
    pub facet: String,
    pub values: Vec<String>,
}

/// Groups filters by facet: any of the values of one, all of the facets. Every filter that cannot be is told at once.
pub fn parse(form: &EntityForm, filters: &[String]) -> Result<Vec<FacetFilter>> {
    let known: Vec<&str> = form.entity.facets.iter().map(|f| f.key.as_str()).collect();
    let mut grouped: Vec<FacetFilter> = Vec::new();
    let mut violations = Vec::new();
    for (i, filter) in filters.iter().enumerate() {
        let at = format!("facet[{i}]");
        match filter.split_once(':') {
            Some((facet, value))
                if known.contains(&facet) && !value.is_empty() && !value.contains('\0') =>
            {
                let value = value.to_owned();
                match grouped.iter_mut().find(|g| g.facet == facet) {
                    Some(group) if group.values.contains(&value) => {}
                    Some(group) => group.values.push(value),
                    None => grouped.push(FacetFilter {
                        facet: facet.to_owned(),
                        values: vec![value],
                    }),
                }
            }
            Some((facet, value)) if known.contains(&facet) => {
                let message = format!(
                    "the value {value:?} of the facet {facet} cannot be filtered by; write {facet}:value"
                );
                violations
                    .push(Violation::new(at, "niche.facet_value", message).with("facet", facet));
            }
            _ => {
                let list = known.join(", ");
                let message =
                    format!("there is no such facet; write facet:value with one of: {list}");
                violations
                    .push(Violation::new(at, "niche.facet_unknown", message).with("known", list));
            }
        }
    }
    if violations.is_empty() {
        Ok(grouped)
    } else {
        Err(Error::invalid(violations))
    }
}
