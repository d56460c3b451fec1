//! Whether a tag may be moved: for all tags, for none, or for all but some.
//!
//! The registry asks [`check`] before it moves a tag, so the rule binds every client and not only
//! AWS's.

use std::sync::LazyLock;

use oci::{Digest, RepositoryName, Tag};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::repositories::{change, load};
use super::{Answer, Call, EcrError, wildcard};
use crate::state::FrontState;

/// The most filters, as ECR's.
const MAX_FILTERS: usize = 5;
/// The longest filter, in bytes, as ECR's.
const MAX_FILTER_BYTES: usize = 128;

/// A repository's rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TagMutability {
    #[serde(default)]
    image_tag_mutability: Setting,
    #[serde(default)]
    image_tag_mutability_exclusion_filters: Vec<Filter>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Setting {
    #[default]
    Mutable,
    Immutable,
    MutableWithExclusion,
    ImmutableWithExclusion,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    filter_type: FilterType,
    filter: String,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum FilterType {
    Wildcard,
}

impl TagMutability {
    /// Checks what the types do not.
    pub(super) fn check(&self) -> Result<(), EcrError> {
        let filters = &self.image_tag_mutability_exclusion_filters;
        let excludes = matches!(
            self.image_tag_mutability,
            Setting::MutableWithExclusion | Setting::ImmutableWithExclusion
        );
        if excludes == filters.is_empty() || filters.len() > MAX_FILTERS {
            let message = format!(
                "a setting with exclusion has 1 to {MAX_FILTERS} filters, and one without has none"
            );
            return Err(EcrError::parameter(message));
        }
        let bad = filters
            .iter()
            .any(|one| !(1..=MAX_FILTER_BYTES).contains(&one.filter.len()));
        match bad {
            true => Err(EcrError::parameter(format!(
                "a filter has 1 to {MAX_FILTER_BYTES} characters"
            ))),
            false => Ok(()),
        }
    }

    pub(super) fn show(&self, value: &mut Value) {
        value["imageTagMutability"] = json!(self.image_tag_mutability);
        if !self.image_tag_mutability_exclusion_filters.is_empty() {
            let filters = json!(self.image_tag_mutability_exclusion_filters);
            value["imageTagMutabilityExclusionFilters"] = filters;
        }
    }

    fn is_immutable(&self, tag: &Tag) -> bool {
        let filters = &self.image_tag_mutability_exclusion_filters;
        let excluded = filters
            .iter()
            .any(|one| wildcard(&one.filter, tag.as_str()));
        match self.image_tag_mutability {
            Setting::Mutable => false,
            Setting::Immutable => true,
            Setting::MutableWithExclusion => excluded,
            Setting::ImmutableWithExclusion => !excluded,
        }
    }
}

/// Why a tag was not moved.
pub(crate) enum TagRefused {
    /// It names something else already.
    Immutable(Tag),
    /// The rule cannot be read.
    Failed(EcrError),
}

/// Keeps two pushes of one new tag apart: the first would be moved by the second.
static PUSHING: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);

/// Returns nothing when `tags` of `repository` may name `digest` now. What is returned must be
/// held until they do.
pub(crate) async fn check(
    front: &FrontState,
    repository: &RepositoryName,
    (tags, digest): (&[Tag], &Digest),
) -> Result<Option<MutexGuard<'static, ()>>, TagRefused> {
    if tags.is_empty() {
        return Ok(None);
    }
    let settings = load(front, repository).await.map_err(TagRefused::Failed)?;
    let Some((settings, _)) = settings else {
        return Ok(None);
    };
    let fixed: Vec<&Tag> = tags
        .iter()
        .filter(|tag| settings.mutability.is_immutable(tag))
        .collect();
    if fixed.is_empty() {
        return Ok(None);
    }
    let guard = PUSHING.lock().await;
    for tag in fixed {
        let named = front.store.repositories.resolve(repository, tag).await;
        let named = named.map_err(|error| TagRefused::Failed(error.into()))?;
        if named.is_some_and(|named| named != *digest) {
            return Err(TagRefused::Immutable(tag.clone()));
        }
    }
    Ok(Some(guard))
}

pub(super) async fn put(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let rule: TagMutability = call.input()?;
    rule.check()?;
    let mut answer = json!({ "registryId": call.number, "repositoryName": repository });
    rule.show(&mut answer);
    change(call, &repository, |settings| {
        settings.mutability = rule;
        Ok(())
    })
    .await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusions_turn_the_rule_round() {
        let rule = |setting: &str, filters: &[&str]| -> TagMutability {
            let filters: Vec<Value> = filters
                .iter()
                .map(|filter| json!({ "filterType": "WILDCARD", "filter": filter }))
                .collect();
            let text = json!({
                "imageTagMutability": setting,
                "imageTagMutabilityExclusionFilters": filters,
            });
            serde_json::from_value(text).unwrap()
        };
        for (setting, filters, tag, expected) in [
            ("MUTABLE", &[][..], "v1", false),
            ("IMMUTABLE", &[], "v1", true),
            ("IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"], "v1", true),
            (
                "IMMUTABLE_WITH_EXCLUSION",
                &["latest", "dev-*"],
                "dev-1",
                false,
            ),
            ("MUTABLE_WITH_EXCLUSION", &["v*"], "v1", true),
            ("MUTABLE_WITH_EXCLUSION", &["v*"], "latest", false),
        ] {
            let rule = rule(setting, filters);
            rule.check().unwrap();
            assert_eq!(
                rule.is_immutable(&tag.parse().unwrap()),
                expected,
                "{setting} {tag}"
            );
        }
        assert!(rule("IMMUTABLE", &["x"]).check().is_err());
        assert!(rule("IMMUTABLE_WITH_EXCLUSION", &[]).check().is_err());
        assert!(rule("IMMUTABLE_WITH_EXCLUSION", &["x"; 6]).check().is_err());
    }
}
