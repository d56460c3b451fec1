//! The story: develop, deny, mend, test, accept, approve, deploy.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::sandbox::{Done, Sandbox, free_port};
use super::teller::{Teller, broken};
use super::{Args, attacks};
use crate::error::CliError;

/// The longest that a run may take before the story gives up on it.
const RUN_LIMIT: Duration = Duration::from_secs(180);
/// How often a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The wheels of the application: as its developer began, and as the denial asks for.
const VULNERABLE: &str = "waitress==2.1.2";
const MENDED: &str = "waitress==3.0.2";

/// Plays the whole story and takes everything down again.
pub(super) fn play(args: &Args, asks: bool) -> Result<(), CliError> {
    let mut story = Story::new(args, asks)?;
    let played = story.acts();
    let ended = if args.keep && played.is_ok() {
        let folder = story.sandbox.dir.display().to_string();
        story
            .teller
            .say(&format!("everything keeps running in {folder}"));
        Ok(())
    } else {
        story.take_down()
    };
    if played.is_ok() {
        story.teller.finish();
    }
    played.and(ended)
}

/// The performance as it stands.
pub(super) struct Story {
    pub(super) sandbox: Sandbox,
    pub(super) teller: Teller,
    asks: bool,
    assets: PathBuf,
    cache: PathBuf,
    production: u16,
    test: u16,
    up: bool,
    seen: BTreeSet<String>,
    /// The image that the gate denied, `registry/repository@digest`.
    pub(super) denied: String,
    /// The released image, `registry/repository@digest`.
    pub(super) released: String,
}

impl Story {
    fn new(args: &Args, asks: bool) -> Result<Self, CliError> {
        let absolute = |path: &PathBuf| {
            std::path::absolute(path).map_err(|e| CliError::config("no such folder").because(e))
        };
        Ok(Self {
            sandbox: Sandbox::new(&std::env::temp_dir())?,
            teller: Teller::new(),
            asks,
            assets: absolute(&args.assets)?,
            cache: absolute(&args.cache)?,
            production: free_port()?,
            test: free_port()?,
            up: false,
            seen: BTreeSet::new(),
            denied: String::new(),
            released: String::new(),
        })
    }

    fn acts(&mut self) -> Result<(), CliError> {
        self.prepare()?;
        self.set_up()?;
        self.vouch_for_the_base()?;
        self.push_and_be_denied()?;
        self.mend_and_push()?;
        self.look()?;
        self.test_and_papers()?;
        self.accept()?;
        self.approve_and_deploy()?;
        attacks::play(self)
    }

    fn prepare(&mut self) -> Result<(), CliError> {
        self.teller
            .step("prepare: real Debian packages, real wheels, real advisories");
        let base = self.cache.join("base");
        let build = self
            .assets
            .join("base")
            .join("build.sh")
            .display()
            .to_string();
        self.program(
            "platform",
            &self.cache_dir()?,
            &[&build, &base.display().to_string()],
        )?;
        let wheels = self.cache.join("wheels").display().to_string();
        for wheel in [VULNERABLE, MENDED] {
            let line = [
                "python3",
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--dest",
                &wheels,
                wheel,
            ];
            self.program("dev", &self.cache_dir()?, &line)?;
        }
        let osv = self
            .assets
            .join("advisories")
            .join("osv")
            .display()
            .to_string();
        self.tell("admin", &["db", "import", &osv])?;
        self.write_project()
    }

    fn cache_dir(&self) -> Result<PathBuf, CliError> {
        std::fs::create_dir_all(&self.cache).map_err(in_folder)?;
        Ok(self.cache.clone())
    }

    /// Copies the project with the ports of this performance.
    fn write_project(&self) -> Result<(), CliError> {
        let project = self.sandbox.dir.join("project");
        copy_folder(&self.assets.join("policies"), &project.join("policies"))?;
        for name in ["trust-policy.json", "countersign.yaml"] {
            let text = std::fs::read_to_string(self.assets.join(name)).map_err(in_folder)?;
            let text = text
                .replace("127.0.0.1:18080", &format!("127.0.0.1:{}", self.production))
                .replace("127.0.0.1:18081", &format!("127.0.0.1:{}", self.test));
            std::fs::write(project.join(name), text).map_err(in_folder)?;
        }
        let secret = self.sandbox.dir.join("unlock");
        std::fs::write(&secret, "for one performance of the demo\n").map_err(in_folder)?;
        set_private(&secret)
    }

    fn set_up(&mut self) -> Result<(), CliError> {
        self.teller
            .step("up: one command, one file, three processes");
        let folder = |name: &str| self.sandbox.dir.join(name).display().to_string();
        let (file, data, unlock) = (
            folder("project/countersign.yaml"),
            folder("data"),
            folder("unlock"),
        );
        let tokens = folder("tokens");
        self.up = true;
        let server = self.sandbox.server.clone();
        self.tell(
            "admin",
            &[
                "up",
                &file,
                "--data",
                &data,
                "--listen",
                &server,
                "--unlock-file",
                &unlock,
                "--tokens",
                &tokens,
            ],
        )?;
        for account in [
            "dev",
            "platform",
            "security",
            "release-manager",
            "tester",
            "mallory",
        ] {
            let token = std::fs::read_to_string(
                self.sandbox
                    .dir
                    .join("tokens")
                    .join(format!("{account}.token")),
            );
            self.login(account, &token.map_err(in_folder)?)?;
        }
        let token = std::fs::read_to_string(self.sandbox.dir.join("data/admin.token"))
            .map_err(in_folder)?;
        self.login("admin", &token)?;
        for account in ["security", "release-manager", "dev"] {
            self.import_trust(account)?;
        }
        self.teller
            .holds("every account has a token of its own, limited to what the file grants");
        Ok(())
    }

    fn login(&self, account: &str, token: &str) -> Result<(), CliError> {
        let server = self.sandbox.server.clone();
        let line = ["login", &server, "--username", account, "--password-stdin"];
        let done = self
            .sandbox
            .countersign_with_input(account, &line, token.trim())?;
        expect(&done, 0, "login")
    }

    /// Gives an account's own verifier the trust anchor and the policy.
    fn import_trust(&self, account: &str) -> Result<(), CliError> {
        let root = self.sandbox.dir.join("root.pem");
        std::fs::write(
            &root,
            self.fetch(&format!("http://{}/pki/root.pem", self.sandbox.server))?,
        )
        .map_err(in_folder)?;
        let policy = self.assets.join("trust-policy.json").display().to_string();
        let root = root.display().to_string();
        let store = [
            "trust",
            "store",
            "add",
            "--type",
            "signingAuthority",
            "--name",
            "countersign",
            &root,
        ];
        expect(
            &self.sandbox.countersign(account, &store)?,
            0,
            "trust store add",
        )?;
        let policy = ["trust", "policy", "import", &policy, "--force"];
        expect(
            &self.sandbox.countersign(account, &policy)?,
            0,
            "trust policy import",
        )
    }

    fn vouch_for_the_base(&mut self) -> Result<(), CliError> {
        self.teller
            .step("the platform team pushes the base image and signs it, by digest");
        let target = format!("{}/base/python:12", self.sandbox.server);
        let layout = format!("oci:{}:12", self.cache.join("base").display());
        let copied = self.json("platform", &["copy", &layout, &target])?;
        let digest = text(&copied, &["digest"])?;
        let by_digest = format!("{}/base/python@{digest}", self.sandbox.server);
        self.tell("platform", &["sign", &by_digest, "--profile", "platform"])?;
        Ok(())
    }

    fn push_and_be_denied(&mut self) -> Result<(), CliError> {
        self.teller
            .step("a developer pushes an application with an old package: the gate says no");
        let source = self.sandbox.dir.join("source");
        copy_folder(&self.assets.join("app"), &source)?;
        let dockerfile = source.join("Dockerfile");
        let text = std::fs::read_to_string(&dockerfile).map_err(in_folder)?;
        std::fs::write(
            &dockerfile,
            text.replace("FROM REGISTRY/", &format!("FROM {}/", self.sandbox.server)),
        )
        .map_err(in_folder)?;
        self.use_wheel(VULNERABLE, "1.0.0")?;
        let remote = format!("http://{}/git/shop.git", self.sandbox.server);
        self.git(&["init", "--quiet", "--initial-branch", "main"])?;
        let token = std::fs::read_to_string(self.sandbox.dir.join("tokens/dev.token"))
            .map_err(in_folder)?;
        let authority = self.sandbox.server.clone();
        let credentials = self.sandbox.home("dev")?.join(".git-credentials");
        std::fs::write(
            &credentials,
            format!("http://dev:{}@{authority}\n", token.trim()),
        )
        .map_err(in_folder)?;
        set_private(&credentials)?;
        self.git(&["config", "credential.helper", "store"])?;
        self.git(&["remote", "add", "origin", &remote])?;
        self.commit_and_push("the shop, first version")?;
        let run = self.follow("development", "dev")?;
        self.must_be(&run, "failed")?;
        let code = failure_code(&run)?;
        self.denied = self.image_of(&run)?;
        self.show_run("dev", &run)?;
        match code.as_str() {
            "fixable-critical" => self
                .teller
                .holds("denied with `fixable-critical`, and the remedy names the version"),
            other => {
                return Err(broken(format!(
                    "the first version was denied with `{other}`, not `fixable-critical`"
                )));
            }
        }
        Ok(())
    }

    fn mend_and_push(&mut self) -> Result<(), CliError> {
        self.teller
            .step("the fix is pushed: build, SBOM, scan, provenance, signatures, verdict");
        self.use_wheel(MENDED, "1.0.1")?;
        self.commit_and_push("move to waitress 3.0.2")?;
        let run = self.next_run("development")?;
        let id = text(&run, &["id"])?;
        self.wait_until(&id, &["running"])?;
        for role in ["worker", "signer", "front"] {
            self.signal(role, "KILL")?;
        }
        self.teller.say("all three processes were killed with -9 in the middle of the build; the supervisor starts them again");
        let run = self.follow_run(&id, "dev")?;
        self.must_be(&run, "succeeded")?;
        self.released = self.image_of(&run)?;
        self.teller
            .holds("the candidate passes; from here on only its digest travels");
        Ok(())
    }

    fn image_of(&self, run: &Value) -> Result<String, CliError> {
        let digest = text(run, &["outputs", "image", "digest"])?;
        Ok(format!("{}/apps/shop@{digest}", self.sandbox.server))
    }

    fn look(&mut self) -> Result<(), CliError> {
        self.teller
            .step("look: the tree down to the signatures, and a verification");
        let released = self.released.clone();
        self.tell("dev", &["discover", &released])?;
        self.tell("dev", &["verify", &released])?;
        Ok(())
    }

    fn test_and_papers(&mut self) -> Result<(), CliError> {
        self.teller
            .step("evidence complete: test environment and runtime check, licence and chart");
        for pipeline in ["test", "compliance"] {
            let run = self.wait(pipeline)?;
            self.must_be(&run, "succeeded")?;
            self.teller.holds(&format!(
                "pipeline `{pipeline}` succeeded, its evidence is attached and signed"
            ));
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), CliError> {
        self.teller
            .step("a person of the security team looks at the findings and accepts them");
        let released = self.released.clone();
        let policy = self
            .sandbox
            .dir
            .join("project/policies/candidate.yaml")
            .display()
            .to_string();
        self.tell(
            "security",
            &["gate", "check", &released, "--policy", &policy],
        )?;
        self.tell(
            "security",
            &[
                "sign",
                &released,
                "--profile",
                "security-team",
                "--accept",
                "no finding with a fix is left; accepted for a week",
            ],
        )?;
        Ok(())
    }

    fn approve_and_deploy(&mut self) -> Result<(), CliError> {
        self.teller
            .step("production: verdict, approval over exactly that evidence, re-check, deployment");
        let run = self.wait_for("production", &["waiting-for-approval", "failed"])?;
        self.must_be(&run, "waiting-for-approval")?;
        self.show_run("release-manager", &run)?;
        self.approve(&text(&run, &["id"])?)?;
        let run = self.wait_same(&text(&run, &["id"])?)?;
        self.must_be(&run, "succeeded")?;
        self.tell("release-manager", &["deployment", "list"])?;
        self.still_served("1.0.1")?;
        Ok(())
    }

    /// Asks on a terminal; elsewhere the demo's release manager answers, with the ordinary command.
    fn approve(&mut self, run: &str) -> Result<(), CliError> {
        if self.asks {
            let mut err = std::io::stderr().lock();
            let _ = write!(
                err,
                "    approve this deployment as `release-manager`? [y/N] "
            )
            .and_then(|()| err.flush());
            let mut answer = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut answer)
                .map_err(in_folder)?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                self.tell(
                    "release-manager",
                    &["run", "reject", run, "--comment", "not today"],
                )?;
                return Err(CliError::new(
                    crate::error::Kind::Denied,
                    "the deployment was rejected at the terminal",
                ));
            }
        } else {
            self.teller.say("there is no terminal to ask: the demo's own release manager approves, with the ordinary command");
        }
        self.tell(
            "release-manager",
            &[
                "run",
                "approve",
                run,
                "--comment",
                "verdict read, evidence complete",
            ],
        )?;
        Ok(())
    }

    /// Stops what `up` started. Done in any case, so it keeps going where something is gone already.
    fn take_down(&mut self) -> Result<(), CliError> {
        if self.up {
            self.teller
                .step("down: everything that was made is removed");
            let folder = |name: &str| self.sandbox.dir.join(name).display().to_string();
            let line = [
                "down",
                &folder("project/countersign.yaml"),
                "--data",
                &folder("data"),
            ];
            let line: Vec<&str> = line.iter().map(|part| &**part).collect();
            self.tell("admin", &line)?;
        }
        std::fs::remove_dir_all(&self.sandbox.dir).map_err(in_folder)
    }
}

/// What the acts are made of.
impl Story {
    /// Types a `countersign` command, shows it and what it printed, and expects exit code 0.
    pub(super) fn tell(&self, who: &str, line: &[&str]) -> Result<Done, CliError> {
        self.teller.command(who, &self.shown(line));
        let done = self.sandbox.countersign(who, line)?;
        self.teller.output(&self.shorter(&done.all()));
        expect(&done, 0, line[0])?;
        Ok(done)
    }

    /// Types a `countersign` command and returns its JSON.
    pub(super) fn json(&self, who: &str, line: &[&str]) -> Result<Value, CliError> {
        self.teller.command(who, &self.shown(line));
        self.ask(who, line)
    }

    /// Runs a `countersign` command unseen and returns its JSON.
    pub(super) fn ask(&self, who: &str, line: &[&str]) -> Result<Value, CliError> {
        let line = [line, &["--output", "json"]].concat();
        let done = self.sandbox.countersign(who, &line)?;
        expect(&done, 0, line[0])?;
        serde_json::from_str(&done.stdout)
            .map_err(|e| broken(format!("`{}` printed no JSON", line[0])).because(e))
    }

    /// Runs a foreign program and expects exit code 0.
    pub(super) fn program(
        &self,
        who: &str,
        folder: &std::path::Path,
        line: &[&str],
    ) -> Result<(), CliError> {
        self.teller.command(who, &self.shorter(&line.join(" ")));
        let done = self.sandbox.program(who, folder, line)?;
        if done.code != 0 {
            self.teller.output(&self.shorter(&done.all()));
        }
        expect(&done, 0, line[0])
    }

    fn git(&self, line: &[&str]) -> Result<(), CliError> {
        let line = [&["git"], line].concat();
        self.program("dev", &self.sandbox.dir.join("source"), &line)
    }

    fn commit_and_push(&self, message: &str) -> Result<(), CliError> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--message", message])?;
        self.git(&["push", "--quiet", "origin", "main"])
    }

    fn use_wheel(&self, requirement: &str, version: &str) -> Result<(), CliError> {
        let source = self.sandbox.dir.join("source");
        let wheels = source.join("wheels");
        let _ = std::fs::remove_dir_all(&wheels);
        std::fs::create_dir_all(&wheels).map_err(in_folder)?;
        let wanted = requirement.replace("==", "-");
        for entry in std::fs::read_dir(self.cache.join("wheels")).map_err(in_folder)? {
            let entry = entry.map_err(in_folder)?;
            if entry.file_name().to_string_lossy().starts_with(&wanted) {
                std::fs::copy(entry.path(), wheels.join(entry.file_name())).map_err(in_folder)?;
            }
        }
        std::fs::write(source.join("requirements.txt"), format!("{requirement}\n"))
            .map_err(in_folder)?;
        std::fs::write(source.join("VERSION"), format!("{version}\n")).map_err(in_folder)
    }

    /// Waits for the next run of `pipeline` and shows its log as it is written.
    fn follow(&mut self, pipeline: &str, who: &str) -> Result<Value, CliError> {
        let run = self.next_run(pipeline)?;
        self.follow_run(&text(&run, &["id"])?, who)
    }

    fn follow_run(&self, id: &str, who: &str) -> Result<Value, CliError> {
        self.up_again()?;
        self.teller
            .command(who, &format!("countersign run logs {id} --follow"));
        self.sandbox
            .stream(who, &["run", "logs", id, "--follow"], |line| {
                self.teller.output(&self.shorter(line))
            })?;
        self.wait_same(id)
    }

    /// Waits until the server answers: it may have been killed a moment ago.
    fn up_again(&self) -> Result<(), CliError> {
        let begun = Instant::now();
        while begun.elapsed() < RUN_LIMIT {
            if self
                .fetch(&format!("http://{}/healthz", self.sandbox.server))
                .is_ok()
            {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(broken("the server does not answer any more"))
    }

    /// Sends a signal to one of the server's roles.
    pub(super) fn signal(&self, role: &str, signal: &str) -> Result<(), CliError> {
        let file = self.sandbox.dir.join("data").join(format!("{role}.pid"));
        let pid = std::fs::read_to_string(file).map_err(in_folder)?;
        self.program(
            "operator",
            &self.sandbox.dir,
            &["kill", &format!("-{signal}"), pid.trim()],
        )
    }

    /// Waits until the next run of `pipeline` has ended.
    pub(super) fn wait(&mut self, pipeline: &str) -> Result<Value, CliError> {
        self.wait_for(pipeline, &["succeeded", "failed", "rejected"])
    }

    /// Waits until the next run of `pipeline` is in one of `statuses`.
    pub(super) fn wait_for(
        &mut self,
        pipeline: &str,
        statuses: &[&str],
    ) -> Result<Value, CliError> {
        let run = self.next_run(pipeline)?;
        self.wait_until(&text(&run, &["id"])?, statuses)
    }

    /// Waits until the run has ended.
    pub(super) fn wait_same(&self, id: &str) -> Result<Value, CliError> {
        self.wait_until(id, &["succeeded", "failed", "rejected"])
    }

    /// Waits until the run is in one of `statuses`.
    pub(super) fn wait_until(&self, id: &str, statuses: &[&str]) -> Result<Value, CliError> {
        let begun = Instant::now();
        while begun.elapsed() < RUN_LIMIT {
            let run = self.ask("admin", &["run", "show", id])?;
            if statuses.contains(&text(&run, &["status"])?.as_str()) {
                return Ok(run);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let run = self.ask("admin", &["run", "show", id])?;
        Err(broken(format!(
            "run {id} is still {} after {} s",
            text(&run, &["status"])?,
            RUN_LIMIT.as_secs()
        )))
    }

    /// Returns the oldest run of `pipeline` that the story has not told of.
    fn next_run(&mut self, pipeline: &str) -> Result<Value, CliError> {
        let begun = Instant::now();
        while begun.elapsed() < RUN_LIMIT {
            let runs = self.ask("admin", &["run", "list"])?;
            let mut fresh: Vec<&Value> = runs
                .as_array()
                .into_iter()
                .flatten()
                .filter(|run| {
                    run["pipeline"] == pipeline
                        && !self.seen.contains(run["id"].as_str().unwrap_or(""))
                })
                .collect();
            fresh.sort_by_key(|run| run["id"].as_str().map(str::to_owned));
            if let Some(run) = fresh.first() {
                self.seen.insert(text(run, &["id"])?);
                return Ok((*run).clone());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(broken(format!(
            "pipeline `{pipeline}` was not started in {} s",
            RUN_LIMIT.as_secs()
        )))
    }

    /// Notes that a run is known, so that no one waits for it.
    pub(super) fn saw(&mut self, id: &str) {
        self.seen.insert(id.to_owned());
    }

    pub(super) fn show_run(&self, who: &str, run: &Value) -> Result<(), CliError> {
        let id = text(run, &["id"])?;
        self.teller
            .command(who, &format!("countersign run show {id}"));
        let done = self.sandbox.countersign(who, &["run", "show", &id])?;
        self.teller.output(&self.shorter(&done.stdout));
        Ok(())
    }

    pub(super) fn must_be(&self, run: &Value, status: &str) -> Result<(), CliError> {
        let is = text(run, &["status"])?;
        if is == status {
            return Ok(());
        }
        self.show_run("admin", run)?;
        let id = text(run, &["id"])?;
        let log = self.sandbox.countersign("admin", &["run", "logs", &id])?;
        self.teller.output(&log.all());
        Err(broken(format!("run {id} is {is}, not {status}")))
    }

    /// Fetches the production page and expects it to show `version`.
    pub(super) fn still_served(&self, version: &str) -> Result<(), CliError> {
        let url = format!("http://127.0.0.1:{}/", self.production);
        let page = self.fetch(&url)?;
        let heading = format!("<h1>Shop {version}</h1>");
        let digest = self.released.rsplit('@').next().unwrap_or("?");
        if !page.contains(&heading) || !page.contains(digest) {
            return Err(broken(format!("{url} does not serve version {version}")));
        }
        self.teller.holds(&format!(
            "{url} serves version {version} from the released digest"
        ));
        Ok(())
    }

    fn fetch(&self, url: &str) -> Result<String, CliError> {
        let done = self.sandbox.program(
            "visitor",
            &self.sandbox.dir,
            &["curl", "--silent", "--fail", "--max-time", "10", url],
        )?;
        expect(&done, 0, "curl")?;
        Ok(done.stdout)
    }

    fn shown(&self, line: &[&str]) -> String {
        let quoted = |part: &&str| match part.contains(' ') {
            true => format!("'{part}'"),
            false => (*part).to_owned(),
        };
        let line: Vec<String> = line.iter().map(quoted).collect();
        self.shorter(&format!("countersign {}", line.join(" ")))
    }

    /// Leaves out the folders of this performance, which say nothing.
    fn shorter(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.sandbox.dir.display()), "")
            .replace(&format!("{}/", self.assets.display()), "demo/")
            .replace(&format!("{}/", self.cache.display()), "target/demo/")
    }
}

/// Expects an exit code; what the command said is in the error.
pub(super) fn expect(done: &Done, code: i32, name: &str) -> Result<(), CliError> {
    match done.code == code {
        true => Ok(()),
        false => {
            let last = done
                .all()
                .trim_end()
                .lines()
                .last()
                .unwrap_or("")
                .to_owned();
            Err(broken(format!(
                "`{name}` ended with {}, not {code}: {last}",
                done.code
            )))
        }
    }
}

/// Returns the text at `path` in `value`.
pub(super) fn text(value: &Value, path: &[&str]) -> Result<String, CliError> {
    let found = path.iter().fold(value, |value, name| &value[*name]);
    found
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| broken(format!("there is no `{}` in {value}", path.join("."))))
}

/// Returns the code that the run failed with.
pub(super) fn failure_code(run: &Value) -> Result<String, CliError> {
    let mut actions = run["actions"].as_array().into_iter().flatten();
    let failed = actions.find(|action| action["status"] == "failed");
    text(
        failed.unwrap_or(&Value::Null),
        &["detail", "status", "failure", "code"],
    )
}

pub(super) fn in_folder(error: std::io::Error) -> CliError {
    CliError::config("a file of the demo could not be read or written").because(error)
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> Result<(), CliError> {
    std::fs::create_dir_all(to).map_err(in_folder)?;
    for entry in std::fs::read_dir(from).map_err(in_folder)? {
        let entry = entry.map_err(in_folder)?;
        let target = to.join(entry.file_name());
        match entry.file_type().map_err(in_folder)?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => std::fs::copy(entry.path(), target)
                .map(drop)
                .map_err(in_folder)?,
        }
    }
    Ok(())
}

fn set_private(path: &std::path::Path) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(in_folder)
}
