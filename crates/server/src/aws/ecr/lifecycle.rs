//! Lifecycle policies: which images expire. Validated, previewed, and applied once an hour.
//!
//! ECR's rules for rules: all are evaluated together and applied by priority; an image that a rule
//! selects by its tags belongs to the rule with the lowest number; `any` comes last. What refers
//! to an image goes with it, and what an index names goes only after the index.

use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

use oci::{Digest, Manifest, RepositoryName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::repositories::{InventoryRow, Page};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use super::images::remove_with_referrers;
use super::repositories::{all_settings, change, settings_of};
use super::{Answer, Call, EcrError, Paged, epoch, wildcard};
use crate::clock;
use crate::state::Front;

/// The shortest and longest text, in characters, as ECR's.
const MIN_TEXT: usize = 100;
const MAX_TEXT: usize = 30_720;
/// The most rules and prefixes.
const MAX_RULES: usize = 50;
const MAX_PREFIXES: usize = 50;
/// How often policies are applied; ECR promises a day.
const PERIOD: StdDuration = StdDuration::from_secs(60 * 60);
/// The account in whose name images expire.
const ACCOUNT: &str = "lifecycle";

/// A repository's policy as it is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Kept {
    text: Option<String>,
    /// The text that a preview was asked of.
    preview: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    rule_priority: u32,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    selection: Selection,
    #[serde(rename = "action")]
    _action: Action,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selection {
    tag_status: TagStatus,
    #[serde(default)]
    tag_prefix_list: Vec<String>,
    #[serde(default)]
    tag_pattern_list: Vec<String>,
    count_type: CountType,
    #[serde(default)]
    count_unit: Option<CountUnit>,
    count_number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountType {
    ImageCountMoreThan,
    SinceImagePushed,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CountUnit {
    Days,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    #[serde(rename = "type")]
    _kind: ActionKind,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ActionKind {
    Expire,
}

impl Policy {
    /// Parses a text; the rules come out by priority.
    fn parse(text: &str) -> Result<Self, EcrError> {
        let length = text.chars().count();
        if !(MIN_TEXT..=MAX_TEXT).contains(&length) {
            let message = format!("a policy has {MIN_TEXT} to {MAX_TEXT} characters, not {length}");
            return Err(EcrError::parameter(message));
        }
        let mut policy: Self = serde_json::from_str(text)
            .map_err(|error| EcrError::parameter(format!("`lifecyclePolicyText`: {error}")))?;
        policy.rules.sort_by_key(|rule| rule.rule_priority);
        policy.check().map_err(EcrError::parameter)?;
        Ok(policy)
    }

    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_RULES).contains(&self.rules.len()) {
            return Err(format!("a policy has 1 to {MAX_RULES} rules"));
        }
        for rule in &self.rules {
            let number = rule.rule_priority;
            rule.selection
                .check()
                .map_err(|wrong| format!("rule {number}: {wrong}"))?;
        }
        let pairs = self.rules.windows(2);
        if let Some(pair) = pairs
            .clone()
            .find(|pair| pair[0].rule_priority == pair[1].rule_priority)
        {
            return Err(format!("priority {} is given twice", pair[0].rule_priority));
        }
        match pairs
            .clone()
            .any(|pair| pair[0].selection.tag_status == TagStatus::Any)
        {
            true => Err("a rule with `tagStatus` `any` has the highest priority number".to_owned()),
            false => Ok(()),
        }
    }
}

impl Selection {
    fn check(&self) -> Result<(), &'static str> {
        let lists = self.tag_prefix_list.len() + self.tag_pattern_list.len();
        let both = !self.tag_prefix_list.is_empty() && !self.tag_pattern_list.is_empty();
        let is_tagged = self.tag_status == TagStatus::Tagged;
        match (is_tagged, lists) {
            (true, 0) => return Err("`tagged` needs `tagPrefixList` or `tagPatternList`"),
            (false, 1..) => return Err("only `tagged` has `tagPrefixList` or `tagPatternList`"),
            _ if both => return Err("use `tagPrefixList` or `tagPatternList`, not both"),
            _ if lists > MAX_PREFIXES => return Err("the list of tags is too long"),
            _ => {}
        }
        if self.rule_number_is_zero() {
            return Err("`countNumber` is at least 1");
        }
        match (self.count_type, self.count_unit) {
            (CountType::SinceImagePushed, None) => {
                Err("`sinceImagePushed` needs `countUnit` `days`")
            }
            (CountType::ImageCountMoreThan, Some(_)) => {
                Err("`imageCountMoreThan` has no `countUnit`")
            }
            _ => Ok(()),
        }
    }

    fn rule_number_is_zero(&self) -> bool {
        self.count_number == 0
    }

    /// Whether the image is one of those that the rule is about. Of several prefixes or patterns,
    /// each must fit one of the image's tags.
    fn selects(&self, image: &InventoryRow) -> bool {
        let fits = |test: &dyn Fn(&str) -> bool| image.tags.iter().any(|tag| test(tag.as_str()));
        match self.tag_status {
            TagStatus::Any => true,
            TagStatus::Untagged => image.tags.is_empty(),
            TagStatus::Tagged => {
                let mut prefixes = self.tag_prefix_list.iter();
                let mut patterns = self.tag_pattern_list.iter();
                prefixes.all(|prefix| fits(&|tag| tag.starts_with(prefix.as_str())))
                    && patterns.all(|pattern| fits(&|tag| wildcard(pattern, tag)))
            }
        }
    }

    /// Returns which of the selected images, newest first, are too many or too old.
    fn expired<'a>(
        &self,
        selected: &[&'a InventoryRow],
        now: OffsetDateTime,
    ) -> Vec<&'a InventoryRow> {
        match self.count_type {
            CountType::ImageCountMoreThan => selected
                .iter()
                .skip(self.count_number as usize)
                .copied()
                .collect(),
            CountType::SinceImagePushed => {
                let oldest = now - Duration::days(i64::from(self.count_number));
                let old = selected.iter().filter(|image| image.pushed_at <= oldest);
                old.copied().collect()
            }
        }
    }
}

/// An image that expires, and by which rule.
struct Expiring<'a> {
    image: &'a InventoryRow,
    priority: u32,
}

/// Returns what the policy lets expire of `images`, none of which refers to another or is named
/// by an index.
fn evaluate<'a>(
    policy: &Policy,
    images: &'a [InventoryRow],
    now: OffsetDateTime,
) -> Vec<Expiring<'a>> {
    let mut newest_first: Vec<&InventoryRow> = images.iter().collect();
    newest_first.sort_by(|one, other| {
        let by_time = other.pushed_at.cmp(&one.pushed_at);
        by_time.then_with(|| one.digest.as_str().cmp(other.digest.as_str()))
    });
    let mut claimed: BTreeSet<&str> = BTreeSet::new();
    let mut expiring = Vec::new();
    for rule in &policy.rules {
        let selected: Vec<&InventoryRow> = newest_first
            .iter()
            .filter(|image| rule.selection.selects(image))
            .copied()
            .collect();
        let expired = rule.selection.expired(&selected, now);
        let free = expired
            .into_iter()
            .filter(|image| !claimed.contains(image.digest.as_str()));
        expiring.extend(free.map(|image| Expiring {
            image,
            priority: rule.rule_priority,
        }));
        claimed.extend(selected.iter().map(|image| image.digest.as_str()));
    }
    expiring
}

/// Returns the images of a repository that may expire at all.
async fn candidates(
    front: &Front,
    repository: &RepositoryName,
) -> Result<Vec<InventoryRow>, EcrError> {
    let mut rows = Vec::new();
    let mut page = Page::first();
    loop {
        let found = front.store.inventory.manifests(repository, &page).await?;
        let found = found.unwrap_or_default();
        let Some(last) = found.last() else { break };
        page.after = Some(last.digest.to_string());
        rows.extend(found);
    }
    let mut named: BTreeSet<Digest> = BTreeSet::new();
    for row in rows.iter().filter(|row| row.media_type.is_index()) {
        let stored = front
            .store
            .repositories
            .manifest(repository, &row.digest)
            .await?;
        let parsed = stored.and_then(|stored| {
            Manifest::parse(stored.media_type.clone(), stored.bytes.to_vec()).ok()
        });
        if let Some(index) = parsed.as_ref().and_then(Manifest::as_index) {
            named.extend(index.manifests.iter().map(|one| one.digest.clone()));
        }
    }
    rows.retain(|row| row.subject.is_none() && !named.contains(&row.digest));
    Ok(rows)
}

pub(super) async fn put(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let text = call.body["lifecyclePolicyText"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    Policy::parse(&text)?;
    change(call, &repository, |settings| {
        settings.lifecycle.get_or_insert_default().text = Some(text.clone());
        Ok(())
    })
    .await?;
    Ok(shown(call, &repository, &text))
}

fn shown(call: &Call<'_>, repository: &RepositoryName, text: &str) -> Value {
    json!({
        "registryId": call.number,
        "repositoryName": repository,
        "lifecyclePolicyText": text,
    })
}

fn no_policy(repository: &RepositoryName) -> EcrError {
    EcrError::new(
        "LifecyclePolicyNotFoundException",
        format!("lifecycle policy does not exist for the repository with name '{repository}'"),
    )
}

/// Returns the text of the policy in force.
async fn in_force(call: &Call<'_>, repository: &RepositoryName) -> Result<String, EcrError> {
    let (settings, _) = settings_of(call, repository).await?;
    let text = settings.lifecycle.and_then(|kept| kept.text);
    text.ok_or_else(|| no_policy(repository))
}

pub(super) async fn get(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    let text = in_force(call, &repository).await?;
    Ok(shown(call, &repository, &text))
}

pub(super) async fn delete(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let text = change(call, &repository, |settings| {
        let kept = settings.lifecycle.as_mut();
        kept.and_then(|kept| kept.text.take())
            .ok_or_else(|| no_policy(&repository))
    })
    .await?;
    Ok(shown(call, &repository, &text))
}

pub(super) async fn start_preview(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let text = match call.body["lifecyclePolicyText"].as_str() {
        Some(text) => text.to_owned(),
        None => in_force(call, &repository).await?,
    };
    Policy::parse(&text)?;
    change(call, &repository, |settings| {
        settings.lifecycle.get_or_insert_default().preview = Some(text.clone());
        Ok(())
    })
    .await?;
    let mut answer = shown(call, &repository, &text);
    answer["status"] = json!("IN_PROGRESS");
    Ok(answer)
}

pub(super) async fn get_preview(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    call.caller.require_pull(&repository)?;
    let (settings, _) = settings_of(call, &repository).await?;
    let text = settings.lifecycle.and_then(|kept| kept.preview);
    let text = text.ok_or_else(|| {
        EcrError::new(
            "LifecyclePolicyPreviewNotFoundException",
            format!("no preview was started for the repository with name '{repository}'"),
        )
    })?;
    let images = candidates(call.front, &repository).await?;
    let expiring = evaluate(&Policy::parse(&text)?, &images, clock::now());
    let total = expiring.len();
    let (page, next) = Paged::read(call, (100, 100))?.cut(expiring);
    let results: Vec<Value> = page.iter().map(preview).collect();
    let mut answer = shown(call, &repository, &text);
    answer["status"] = json!("COMPLETE");
    answer["previewResults"] = json!(results);
    answer["summary"] = json!({ "expiringImageTotalCount": total });
    answer["nextToken"] = json!(next);
    Ok(answer)
}

fn preview(expiring: &Expiring<'_>) -> Value {
    json!({
        "imageDigest": expiring.image.digest,
        "imageTags": expiring.image.tags,
        "imagePushedAt": epoch(expiring.image.pushed_at),
        "action": { "type": "EXPIRE" },
        "appliedRulePriority": expiring.priority,
    })
}

/// Applies the policies of all repositories, now and every hour, until `stop` becomes true.
pub async fn run(front: Front, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = apply(&front).await {
            tracing::error!(?error, "lifecycle policies cannot be applied");
        }
    }
}

/// Applies the policies of all repositories once.
///
/// # Errors
/// When the store fails; what expired before stays expired.
pub async fn apply(front: &Front) -> Result<(), EcrError> {
    for (repository, settings) in all_settings(front).await? {
        let Some(text) = settings.lifecycle.and_then(|kept| kept.text) else {
            continue;
        };
        let images = candidates(front, &repository).await?;
        let now = clock::now();
        for expiring in evaluate(&Policy::parse(&text)?, &images, now) {
            let digest = &expiring.image.digest;
            tracing::info!(%repository, %digest, rule = expiring.priority, "an image expired");
            remove_with_referrers(front, ACCOUNT, (&repository, digest)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::MediaType;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

    fn image(name: &str, days: i64, tags: &[&str]) -> InventoryRow {
        InventoryRow {
            digest: Digest::sha256(name.as_bytes()),
            media_type: MediaType::IMAGE_MANIFEST,
            artifact_type: None,
            subject: None,
            pushed_at: NOW - Duration::days(days),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        }
    }

    fn rule(priority: u32, selection: Value) -> Value {
        let description = "a description that makes the text long enough for the least length";
        json!({
            "rulePriority": priority, "description": description,
            "selection": selection, "action": { "type": "expire" },
        })
    }

    fn policy(rules: &[Value]) -> Result<Policy, EcrError> {
        Policy::parse(&json!({ "rules": rules }).to_string())
    }

    fn expired(rules: &[Value], images: &[InventoryRow]) -> Vec<(String, u32)> {
        let policy = policy(rules).unwrap();
        let found = evaluate(&policy, images, NOW);
        let name = |one: &Expiring<'_>| {
            let index = images
                .iter()
                .position(|image| image.digest == one.image.digest);
            (index.unwrap().to_string(), one.priority)
        };
        found.iter().map(name).collect()
    }

    #[test]
    fn images_expire_by_count_and_by_age() {
        let images = [
            image("a", 1, &["v1"]),
            image("b", 2, &["v2"]),
            image("c", 40, &["v3"]),
            image("d", 41, &[]),
        ];
        let count = json!({ "tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "imageCountMoreThan", "countNumber": 2 });
        assert_eq!(
            expired(&[rule(1, count.clone())], &images),
            [("2".to_owned(), 1)]
        );
        let age = json!({ "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 41 });
        assert_eq!(expired(&[rule(1, age)], &images), [("3".to_owned(), 1)]);
        let any =
            json!({ "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1 });
        assert_eq!(
            expired(&[rule(1, count), rule(9, any)], &images),
            [("2".to_owned(), 1), ("3".to_owned(), 9)],
            "an image belongs to the first rule that selects it"
        );
    }

    #[test]
    fn each_of_several_prefixes_must_fit_a_tag() {
        let images = [image("a", 9, &["v1", "prod"]), image("b", 9, &["v2"])];
        let both = json!({ "tagStatus": "tagged", "tagPrefixList": ["v", "prod"], "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1 });
        assert_eq!(expired(&[rule(1, both)], &images), [("0".to_owned(), 1)]);
        let pattern = json!({ "tagStatus": "tagged", "tagPatternList": ["*2"], "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1 });
        assert_eq!(expired(&[rule(1, pattern)], &images), [("1".to_owned(), 1)]);
    }

    #[test]
    fn mistakes_are_named() {
        let any =
            json!({ "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1 });
        let table: [(Vec<Value>, &str); 6] = [
            (
                vec![rule(1, any.clone()), rule(1, any.clone())],
                "priority 1 is given twice",
            ),
            (
                vec![rule(1, any.clone()), rule(2, any.clone())],
                "highest priority number",
            ),
            (
                vec![rule(
                    1,
                    json!({ "tagStatus": "tagged", "countType": "imageCountMoreThan", "countNumber": 1 }),
                )],
                "rule 1: `tagged` needs",
            ),
            (
                vec![rule(
                    1,
                    json!({ "tagStatus": "any", "countType": "sinceImagePushed", "countNumber": 1 }),
                )],
                "needs `countUnit`",
            ),
            (
                vec![rule(
                    1,
                    json!({ "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 0 }),
                )],
                "at least 1",
            ),
            (vec![], "100 to 30720 characters"),
        ];
        for (rules, expected) in table {
            let error = policy(&rules).unwrap_err().message;
            assert!(error.contains(expected), "{error}");
        }
    }
}
