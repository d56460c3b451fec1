//! What must fit together in a project: every name is defined once, every reference leads
//! somewhere, and every action gets what it needs from those before it.

use std::collections::BTreeSet;

use gate::yaml::Mistake;
use oci::MediaType;

use super::{
    Account, Action, Approval, Container, Environment, Name, Pipeline, Profile, Project,
    RelativePath, SignWhat, Trigger, Work,
};

/// The most accounts, profiles, repositories, environments, policies, pipelines, stages of a
/// pipeline, and actions of a stage: more than anybody reads.
const MAX_ENTRIES: usize = 500;

/// Returns everything that does not fit together.
pub(super) fn project(project: &Project) -> Vec<Mistake> {
    let mut found = Found {
        project,
        mistakes: Vec::new(),
    };
    found.names();
    for (index, account) in project.accounts.iter().enumerate() {
        found.account(&format!("accounts[{index}]"), account);
    }
    for (index, profile) in project.profiles.iter().enumerate() {
        for (nth, name) in profile.pipelines.iter().enumerate() {
            found.pipeline_name(&format!("profiles[{index}].pipelines[{nth}]"), name);
        }
        found.rules(&format!("profiles[{index}]"), profile);
    }
    found.issuers();
    for (index, environment) in project.environments.iter().enumerate() {
        found.environment(&format!("environments[{index}]"), environment);
    }
    for (index, pipeline) in project.pipelines.iter().enumerate() {
        found.pipeline(&format!("pipelines[{index}]"), pipeline);
    }
    found.mistakes
}

/// Returns what does not fit between a gate policy and the project.
pub(super) fn policy(
    project: &Project,
    path: &RelativePath,
    policy: &gate::GatePolicy,
) -> Option<Mistake> {
    if policy.name != path.stem() {
        let reason = format!(
            "`{}` must be called `{}` as its file is, for that is how pipelines name it",
            policy.name,
            path.stem()
        );
        return Some(Mistake::new("name", reason));
    }
    for (index, rule) in policy.require.iter().enumerate() {
        let gate::policy::Demand::Approval(approval) = &rule.requirement else {
            continue;
        };
        let over = approval.over.as_deref().unwrap_or(&policy.name);
        if !project.policy_names().any(|name| name == over) {
            let member = format!("require[{index}].approval.over");
            return Some(Mistake::new(
                member,
                format!("there is no gate policy `{over}`"),
            ));
        }
    }
    None
}

struct Found<'a> {
    project: &'a Project,
    mistakes: Vec<Mistake>,
}

impl<'a> Found<'a> {
    fn add(&mut self, member: String, reason: impl Into<String>) {
        self.mistakes.push(Mistake::new(member, reason));
    }

    fn names(&mut self) {
        let project = self.project;
        self.unique("accounts", project.accounts.iter().map(|a| &a.name));
        self.unique("profiles", project.profiles.iter().map(|p| &p.name));
        let repositories = project.git_repositories.iter().map(|r| &r.name);
        self.unique("gitRepositories", repositories);
        self.unique("environments", project.environments.iter().map(|e| &e.name));
        self.unique("pipelines", project.pipelines.iter().map(|p| &p.name));
        let mut seen = BTreeSet::new();
        for (index, path) in project.gate_policies.iter().enumerate() {
            let member = format!("gatePolicies[{index}]");
            let stem = path.stem();
            if stem.parse::<Name>().is_err() {
                self.add(member, format!("a gate policy cannot be named `{stem}`"));
            } else if !seen.insert(stem) {
                self.add(member, format!("there are two gate policies `{stem}`"));
            }
        }
    }

    fn issuers(&mut self) {
        let mut seen = BTreeSet::new();
        for (index, issuer) in self.project.oidc_issuers.iter().enumerate() {
            let member = format!("oidcIssuers[{index}].issuer");
            if !seen.insert(&issuer.issuer) {
                self.add(member, format!("issuer `{}` is there twice", issuer.issuer));
            }
        }
    }

    fn unique<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n Name>) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if index == MAX_ENTRIES {
                self.add(
                    list.to_owned(),
                    format!("has more than {MAX_ENTRIES} entries"),
                );
            }
            if !seen.insert(name) {
                self.add(
                    format!("{list}[{index}].name"),
                    format!("there are two entries with the name `{name}`"),
                );
            }
        }
    }

    /// Reports `name` unless one of `known` is the same, with the nearest of them.
    fn known<'n>(
        &mut self,
        member: &str,
        (kind, name): (&str, &Name),
        known: impl Iterator<Item = &'n str>,
    ) -> bool {
        let known: Vec<&str> = known.collect();
        if known.contains(&name.as_str()) {
            return true;
        }
        let hint = match known.as_slice() {
            [] => "none is defined".to_owned(),
            some => format!("there are {}", quoted(some)),
        };
        self.add(
            member.to_owned(),
            format!("there is no {kind} `{name}`: {hint}"),
        );
        false
    }

    fn pipeline_name(&mut self, member: &str, name: &Name) {
        let known = self.project.pipelines.iter().map(|p| p.name.as_str());
        self.known(member, ("pipeline", name), known);
    }

    fn profile_name(&mut self, member: &str, name: &Name) -> bool {
        let known = self.project.profiles.iter().map(|p| p.name.as_str());
        self.known(member, ("profile", name), known)
    }

    fn policy_name(&mut self, member: &str, name: &Name) {
        let known = self.project.policy_names();
        self.known(member, ("gate policy", name), known);
    }

    fn git_name(&mut self, member: &str, name: &Name) {
        let known = self.project.git_repositories.iter();
        self.known(
            member,
            ("git repository", name),
            known.map(|r| r.name.as_str()),
        );
    }

    fn environment_name(&mut self, member: &str, name: &Name) {
        let known = self.project.environments.iter().map(|e| e.name.as_str());
        self.known(member, ("environment", name), known);
    }

    fn account(&mut self, at: &str, account: &Account) {
        for (index, name) in account.git.push.iter().enumerate() {
            self.git_name(&format!("{at}.git.push[{index}]"), name);
        }
        for (index, name) in account.git.pull.iter().enumerate() {
            self.git_name(&format!("{at}.git.pull[{index}]"), name);
        }
        for (index, name) in account.profiles.iter().enumerate() {
            self.profile_name(&format!("{at}.profiles[{index}]"), name);
        }
        for (index, name) in account.approve.iter().enumerate() {
            self.pipeline_name(&format!("{at}.approve[{index}]"), name);
        }
    }

    /// `pipelines`, and the `profiles` of accounts, are the short form of rules.
    fn rules(&mut self, at: &str, profile: &Profile) {
        if profile.rules.is_empty() {
            return;
        }
        let name = &profile.name;
        if !profile.pipelines.is_empty() {
            self.add(
                format!("{at}.pipelines"),
                "says nothing beside `rules`: name the pipelines in a rule",
            );
        }
        let mut accounts = self.project.accounts.iter();
        if let Some(account) = accounts.find(|account| account.profiles.contains(name)) {
            let reason = format!(
                "account `{}` lists `{name}` in its `profiles`, which says nothing beside `rules`: name the account in a rule",
                account.name
            );
            self.add(format!("{at}.rules"), reason);
        }
    }

    fn environment(&mut self, at: &str, environment: &Environment) {
        if !environment.listen.ip().is_loopback() && environment.tls.is_none() {
            let reason = format!(
                "`{}` is not a loopback address: add `tls`, or listen on 127.0.0.1",
                environment.listen
            );
            self.add(format!("{at}.listen"), reason);
        }
        if !environment.health.path.starts_with('/') {
            self.add(format!("{at}.health.path"), "must start with `/`");
        }
        self.container(&format!("{at}.container"), &environment.container);
    }

    fn container(&mut self, at: &str, container: &Container) {
        if container.port == 0 {
            self.add(format!("{at}.port"), "must be from 1 to 65535");
        }
        if !(container.cpus > 0.0 && container.cpus <= 1024.0) {
            self.add(format!("{at}.cpus"), "must be more than 0, up to 1024");
        }
        if container.pids == 0 {
            self.add(format!("{at}.pids"), "must be at least 1");
        }
        for (index, capability) in container.capabilities.iter().enumerate() {
            let upper = |b: u8| b.is_ascii_uppercase() || b == b'_';
            if capability == "ALL" || capability.is_empty() || !capability.bytes().all(upper) {
                let reason = format!(
                    "`{capability}` is not a capability: name each one, such as `NET_BIND_SERVICE`"
                );
                self.add(format!("{at}.capabilities[{index}]"), reason);
            }
        }
    }

    fn pipeline(&mut self, at: &str, pipeline: &'a Pipeline) {
        self.trigger(&format!("{at}.trigger"), pipeline);
        if pipeline.stages.is_empty() {
            self.add(
                format!("{at}.stages"),
                "a pipeline needs at least one stage",
            );
        }
        let names = pipeline.stages.iter().map(|s| &s.name);
        self.unique(&format!("{at}.stages"), names);
        let mut so_far = SoFar {
            pipeline,
            has_source: matches!(pipeline.trigger, Some(Trigger::Push(_))),
            has_image: !matches!(pipeline.trigger, Some(Trigger::Push(_))),
            builds: false,
            has_verdict: false,
            names: BTreeSet::new(),
            types: BTreeSet::new(),
            deployed: BTreeSet::new(),
        };
        for (index, stage) in pipeline.stages.iter().enumerate() {
            let stage_at = format!("{at}.stages[{index}]");
            if stage.actions.is_empty() || stage.actions.len() > MAX_ENTRIES {
                let reason = format!("a stage needs between 1 and {MAX_ENTRIES} actions");
                self.add(format!("{stage_at}.actions"), reason);
            }
            for (nth, action) in stage.actions.iter().enumerate() {
                self.action(&format!("{stage_at}.actions[{nth}]"), action, &mut so_far);
            }
        }
    }

    fn trigger(&mut self, at: &str, pipeline: &Pipeline) {
        match &pipeline.trigger {
            Some(Trigger::Push(push)) => {
                self.git_name(&format!("{at}.push.repository"), &push.repository);
                if !is_branch(&push.branch) {
                    let reason = format!("`{}` is not the name of a branch", push.branch);
                    self.add(format!("{at}.push.branch"), reason);
                }
            }
            Some(Trigger::Evidence(evidence)) => {
                self.policy_name(&format!("{at}.evidence.policy"), &evidence.policy);
            }
            None => {}
        }
    }

    fn action(&mut self, at: &str, action: &'a Action, so_far: &mut SoFar<'a>) {
        if !so_far.names.insert(&action.name) {
            let reason = format!("there are two actions `{}` in this pipeline", action.name);
            self.add(format!("{at}.name"), reason);
        }
        let at = format!("{at}.{}", action.work.kind());
        if let Err(reason) = so_far.suffices_for(&action.work) {
            self.add(at.clone(), reason);
        }
        self.work(&at, action, so_far);
        match &action.work {
            // An approval is signed on behalf of the person who gives it.
            Work::Approval(approval) => self.approval_profile(&at, approval),
            work => {
                if let Some(profile) = work.profile() {
                    self.profile(&at, work, (profile, so_far.pipeline));
                }
            }
        }
        so_far.pass(&action.work);
    }

    fn work(&mut self, at: &str, action: &Action, so_far: &SoFar<'a>) {
        match &action.work {
            Work::Image(build) => {
                if let Some(base) = &build.base {
                    self.policy_name(&format!("{at}.base.policy"), &base.policy);
                }
            }
            Work::Attach(attach) if attach.files.is_empty() => {
                self.add(format!("{at}.files"), "names no file");
            }
            Work::Sign(sign) => self.signed_things(&format!("{at}.what"), &sign.what, so_far),
            Work::Gate(gate) => self.policy_name(&format!("{at}.policy"), &gate.policy),
            Work::Approval(approval) => self.approval(at, approval, so_far),
            Work::Deploy(deploy) => {
                self.environment_name(&format!("{at}.environment"), &deploy.environment);
                self.policy_name(&format!("{at}.policy"), &deploy.policy);
            }
            Work::Test(test) => {
                self.environment_name(&format!("{at}.environment"), &test.environment);
                self.commands(at, &test.commands);
            }
            Work::Hook(hook) => {
                self.commands(at, &hook.commands);
                if hook.sign.is_some() && hook.attach.is_empty() {
                    self.add(format!("{at}.sign"), "there is nothing attached to sign");
                }
            }
            _ => {}
        }
    }

    fn commands(&mut self, at: &str, commands: &[String]) {
        if commands.is_empty() {
            self.add(format!("{at}.commands"), "names no command");
        }
    }

    fn signed_things(&mut self, at: &str, what: &[SignWhat], so_far: &SoFar<'_>) {
        if what.is_empty() {
            self.add(at.to_owned(), "names nothing to sign");
        }
        for (index, thing) in what.iter().enumerate() {
            if let Err(reason) = so_far.has(thing) {
                self.add(format!("{at}[{index}]"), reason);
            }
        }
    }

    fn approval(&mut self, at: &str, approval: &Approval, so_far: &SoFar<'_>) {
        if approval.by.is_empty() {
            self.add(
                format!("{at}.by"),
                "names no account, so nobody could approve",
            );
        }
        for (index, name) in approval.by.iter().enumerate() {
            let at = format!("{at}.by[{index}]");
            let known = self.project.accounts.iter().map(|a| a.name.as_str());
            if !self.known(&at, ("account", name), known) {
                continue;
            }
            let pipeline = &so_far.pipeline.name;
            let account = self.project.account(name);
            if account.is_some_and(|account| !account.approve.contains(pipeline)) {
                let reason =
                    format!("account `{name}` may not approve: add `{pipeline}` to its `approve`");
                self.add(at, reason);
            }
        }
    }

    fn approval_profile(&mut self, at: &str, approval: &Approval) {
        let name = &approval.profile;
        if !self.profile_name(&format!("{at}.profile"), name) {
            return;
        }
        let mut profiles = self.project.profiles.iter();
        let has_rules = |profile: &Profile| profile.name == *name && !profile.rules.is_empty();
        if profiles.any(has_rules) {
            return;
        }
        for (index, account) in approval.by.iter().enumerate() {
            let known = self.project.account(account);
            if known.is_some_and(|account| !account.profiles.contains(name)) {
                let reason = format!(
                    "account `{account}` may not sign under `{name}`: add it to its `profiles`"
                );
                self.add(format!("{at}.by[{index}]"), reason);
            }
        }
    }

    fn profile(&mut self, at: &str, work: &Work, (name, pipeline): (&Name, &Pipeline)) {
        let member = match work {
            Work::Hook(_) => "sign",
            _ => "profile",
        };
        let at = format!("{at}.{member}");
        if !self.profile_name(&at, name) {
            return;
        }
        let mut profiles = self.project.profiles.iter();
        let profile = profiles.find(|profile| profile.name == *name);
        let by_grant = profile.filter(|profile| profile.rules.is_empty());
        if by_grant.is_some_and(|profile| !profile.pipelines.contains(&pipeline.name)) {
            let reason = format!(
                "profile `{name}` may not be used here: add `{}` to its `pipelines`",
                pipeline.name
            );
            self.add(at, reason);
        }
    }
}

/// What the actions before one have left for it.
struct SoFar<'a> {
    pipeline: &'a Pipeline,
    has_source: bool,
    has_image: bool,
    builds: bool,
    has_verdict: bool,
    names: BTreeSet<&'a Name>,
    types: BTreeSet<&'a MediaType>,
    deployed: BTreeSet<&'a Name>,
}

impl<'a> SoFar<'a> {
    fn suffices_for(&self, work: &Work) -> Result<(), String> {
        match work {
            Work::Buildspec(_) | Work::Image(_) | Work::Attach(_) if !self.has_source => {
                Err("needs a source, which only a pipeline with the trigger `push` has".to_owned())
            }
            Work::Image(_) if self.builds => {
                Err("a pipeline builds one image, and this is the second".to_owned())
            }
            Work::Buildspec(_) | Work::Image(_) => Ok(()),
            _ if !self.has_image => {
                Err("needs an image: put an `image` action before it".to_owned())
            }
            Work::Approval(_) if !self.has_verdict => {
                Err("needs a verdict to approve: put a `gate` action before it".to_owned())
            }
            Work::Test(test) if !self.deployed.contains(&test.environment) => Err(format!(
                "tests the environment `{}`, to which nothing was deployed before",
                test.environment
            )),
            _ => Ok(()),
        }
    }

    fn has(&self, thing: &SignWhat) -> Result<(), String> {
        match thing {
            SignWhat::Image if self.has_image => Ok(()),
            SignWhat::Image => Err("no image was built before".to_owned()),
            SignWhat::Provenance if self.builds => Ok(()),
            SignWhat::Provenance => {
                Err("only a pipeline that built the image has its provenance".to_owned())
            }
            SignWhat::Artifacts(artifact_type) if self.types.contains(artifact_type) => Ok(()),
            SignWhat::Artifacts(artifact_type) => Err(format!(
                "no action before this one attaches `{artifact_type}`"
            )),
        }
    }

    fn pass(&mut self, work: &'a Work) {
        self.types.extend(work.artifact_types());
        match work {
            Work::Image(_) => {
                self.has_image = true;
                self.builds = true;
            }
            Work::Gate(_) => self.has_verdict = true,
            Work::Deploy(deploy) => {
                self.deployed.insert(&deploy.environment);
            }
            _ => {}
        }
    }
}

/// The part of git's rules (`git check-ref-format`) that keeps a branch out of trouble.
fn is_branch(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/+".contains(c);
    (1..=200).contains(&text.len())
        && text.chars().all(good)
        && !text.contains("..")
        && text.split('/').all(|part| {
            !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock")
        })
}

fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
