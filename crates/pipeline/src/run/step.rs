//! The transitions of a run.

use super::*;

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// The run may begin.
    Started,
    /// A worker leased the action, or the front began with it. The same attempt can be leased
    /// again, after its lease ran out.
    Leased {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
        /// Who works on it.
        by: String,
    },
    /// A worker or the front finished the action. An action of the front need not be leased.
    Completed {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
        /// What it produced.
        outputs: ActionOutputs,
    },
    /// A worker or the front could not finish the action, or a gate did not allow.
    Failed {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
    },
    /// A person approved, and the signed approval was attached.
    Approved {
        /// The action.
        action: Name,
        /// Who.
        account: Name,
        /// The artifact that holds the approval.
        approval: Digest,
    },
    /// A person said no.
    Rejected {
        /// The action.
        action: Name,
        /// Who.
        account: Name,
        /// Why.
        comment: String,
    },
    /// The time of the current action is over.
    TimedOut {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
    },
    /// A person asked to try the failed action again.
    Retried,
    /// A newer run takes the place of this one.
    Superseded {
        /// The newer run.
        by: String,
    },
}

/// Something that must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Put a job for a worker into the queue.
    Enqueue {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
    },
    /// The front does this itself, and reports with [`Event::Completed`] or [`Event::Failed`].
    DoInFront {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
    },
    /// Ask for an approval.
    AskForApproval {
        /// The action.
        action: Name,
        /// When it is too late.
        until: OffsetDateTime,
    },
    /// Take the job of this attempt out of the queue, and tell a worker that has it.
    Cancel {
        /// The action.
        action: Name,
        /// The attempt.
        attempt: u32,
    },
    /// The run is over, at least until a retry.
    Finish(Status),
}

/// Says why an event does not fit the state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The run has no such action.
    #[error("the run has no action `{0}`")]
    NoSuchAction(Name),
    /// The message is about an attempt that is over.
    #[error("attempt {got} at `{action}` is over: the current one is {current}")]
    StaleAttempt {
        /// The action.
        action: Name,
        /// The attempt of the message.
        got: u32,
        /// The current attempt.
        current: u32,
    },
    /// The action is in a state in which this cannot happen.
    #[error("action `{action}` is {status}, so it cannot be {what}", status = .status.as_str())]
    WrongState {
        /// The action.
        action: Name,
        /// Where it stands.
        status: Status,
        /// What cannot happen.
        what: &'static str,
    },
    /// The run is in a state in which this cannot happen.
    #[error("the run is {status}, so it cannot be {what}", status = .status.as_str())]
    WrongRunState {
        /// Where it stands.
        status: Status,
        /// What cannot happen.
        what: &'static str,
    },
    /// The account is not one of those that may approve this.
    #[error("account `{account}` is not one of those that `{action}` waits for")]
    NotAnApprover {
        /// The action.
        action: Name,
        /// The account.
        account: Name,
    },
    /// The approval came too late.
    #[error("`{0}` stopped waiting for an approval at {1}")]
    TooLate(Name, OffsetDateTime),
    /// The state was written by a newer version.
    #[error("the run was stored in version {0}: only {STATE_VERSION} is supported")]
    Version(u32),
}

/// Takes a run one step further, at the time `now`.
///
/// # Errors
/// If the event does not fit the state; the state then stays as it is.
pub fn step(
    state: &RunState,
    event: Event,
    now: OffsetDateTime,
) -> Result<(RunState, Vec<Effect>), StepError> {
    if state.version != STATE_VERSION {
        return Err(StepError::Version(state.version));
    }
    let mut run = state.clone();
    let effects = run.apply(event, now)?;
    Ok((run, effects))
}

impl RunState {
    fn apply(&mut self, event: Event, now: OffsetDateTime) -> Result<Vec<Effect>, StepError> {
        match event {
            Event::Started => self.start(now),
            Event::Leased {
                action,
                attempt,
                by,
            } => self.leased(&action, attempt, by),
            Event::Completed {
                action,
                attempt,
                outputs,
            } => self.completed((&action, attempt), outputs, now),
            Event::Failed {
                action,
                attempt,
                failure,
            } => self.failed_with((&action, attempt), failure, now),
            Event::Approved {
                action,
                account,
                approval,
            } => self.approved((&action, &account), approval, now),
            Event::Rejected {
                action,
                account,
                comment,
            } => self.rejected((&action, &account), comment, now),
            Event::TimedOut { action, attempt } => self.timed_out(&action, attempt, now),
            Event::Retried => self.retried(now),
            Event::Superseded { by } => self.superseded(by, now),
        }
    }

    fn start(&mut self, now: OffsetDateTime) -> Result<Vec<Effect>, StepError> {
        self.expect_run("started", |status| status == Status::Pending)?;
        self.started = Some(now);
        Ok(self.advance(now))
    }

    fn leased(
        &mut self,
        action: &Name,
        attempt: u32,
        by: String,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.attempt(action, attempt, "leased")?;
        state.status = ActionStatus::Running { by };
        Ok(Vec::new())
    }

    fn completed(
        &mut self,
        (action, attempt): (&Name, u32),
        outputs: ActionOutputs,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.attempt(action, attempt, "completed")?;
        state.finish(ActionStatus::Succeeded, now);
        self.outputs.add(action, outputs);
        Ok(self.advance(now))
    }

    fn failed_with(
        &mut self,
        (action, attempt): (&Name, u32),
        failure: Failure,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.attempt(action, attempt, "failed")?;
        state.finish(ActionStatus::Failed { failure }, now);
        Ok(self.stop(Status::Failed))
    }

    fn approved(
        &mut self,
        (action, account): (&Name, &Name),
        approval: Digest,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.waiting(action, account, "approved")?;
        if let ActionStatus::WaitingForApproval { until } = state.status
            && until <= now
        {
            return Err(StepError::TooLate(action.clone(), until));
        }
        state.finish(ActionStatus::Succeeded, now);
        let outputs = ActionOutputs {
            artifacts: vec![(oci::MediaType::APPROVAL, approval)],
            ..ActionOutputs::default()
        };
        self.outputs.add(action, outputs);
        Ok(self.advance(now))
    }

    fn rejected(
        &mut self,
        (action, account): (&Name, &Name),
        comment: String,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.waiting(action, account, "rejected")?;
        let account = account.clone();
        state.finish(ActionStatus::Rejected { account, comment }, now);
        Ok(self.stop(Status::Rejected))
    }

    fn timed_out(
        &mut self,
        action: &Name,
        attempt: u32,
        now: OffsetDateTime,
    ) -> Result<Vec<Effect>, StepError> {
        let state = self.active(action, attempt, "timed out")?;
        let is_job = !state.action.work.is_done_by_front();
        let failure = Failure {
            code: "timed-out".to_owned(),
            message: format!("`{action}` was not done in time"),
        };
        state.finish(ActionStatus::Failed { failure }, now);
        let cancel = is_job.then(|| Effect::Cancel {
            action: action.clone(),
            attempt,
        });
        let mut effects: Vec<Effect> = cancel.into_iter().collect();
        effects.extend(self.stop(Status::Failed));
        Ok(effects)
    }

    fn retried(&mut self, now: OffsetDateTime) -> Result<Vec<Effect>, StepError> {
        self.expect_run("retried", |status| status == Status::Failed)?;
        for state in self.actions_mut() {
            if matches!(state.status.kind(), Status::Failed | Status::Skipped) {
                state.status = ActionStatus::Pending;
                state.started = None;
                state.finished = None;
            }
        }
        Ok(self.advance(now))
    }

    fn superseded(&mut self, by: String, now: OffsetDateTime) -> Result<Vec<Effect>, StepError> {
        self.expect_run("superseded", |status| !status.is_finished())?;
        let mut effects = Vec::new();
        for state in self.actions_mut() {
            if state.is_active() {
                if !state.action.work.is_done_by_front() {
                    effects.push(Effect::Cancel {
                        action: state.action.name.clone(),
                        attempt: state.attempt,
                    });
                }
                state.finish(ActionStatus::Superseded, now);
            }
        }
        self.superseded_by = Some(by);
        effects.extend(self.stop(Status::Superseded));
        Ok(effects)
    }

    /// Begins with the next action, or ends the run after the last.
    fn advance(&mut self, now: OffsetDateTime) -> Vec<Effect> {
        let mut pending = self
            .actions_mut()
            .filter(|state| state.status == ActionStatus::Pending);
        match pending.next() {
            Some(next) => vec![next.begin(now)],
            None => vec![Effect::Finish(Status::Succeeded)],
        }
    }

    fn stop(&mut self, status: Status) -> Vec<Effect> {
        for state in self.actions_mut() {
            if state.status == ActionStatus::Pending {
                state.status = ActionStatus::Skipped;
            }
        }
        vec![Effect::Finish(status)]
    }

    fn expect_run(
        &self,
        what: &'static str,
        good: impl Fn(Status) -> bool,
    ) -> Result<(), StepError> {
        match self.status() {
            status if good(status) => Ok(()),
            status => Err(StepError::WrongRunState { status, what }),
        }
    }

    /// Returns the action if this attempt at it is under way, waiting for people or not.
    fn active(
        &mut self,
        action: &Name,
        attempt: u32,
        what: &'static str,
    ) -> Result<&mut ActionState, StepError> {
        let state = self.named(action)?;
        if state.attempt != attempt {
            return Err(StepError::StaleAttempt {
                action: action.clone(),
                got: attempt,
                current: state.attempt,
            });
        }
        match state.is_active() {
            true => Ok(state),
            false => Err(state.wrong(what)),
        }
    }

    /// Returns the action if somebody works on this attempt, or could begin to.
    fn attempt(
        &mut self,
        action: &Name,
        attempt: u32,
        what: &'static str,
    ) -> Result<&mut ActionState, StepError> {
        let state = self.active(action, attempt, what)?;
        match state.status.kind() {
            Status::Running => Ok(state),
            _ => Err(state.wrong(what)),
        }
    }

    /// Returns the action if it waits for `account`.
    fn waiting(
        &mut self,
        action: &Name,
        account: &Name,
        what: &'static str,
    ) -> Result<&mut ActionState, StepError> {
        let state = self.named(action)?;
        let Work::Approval(approval) = &state.action.work else {
            return Err(state.wrong(what));
        };
        if state.status.kind() != Status::WaitingForApproval {
            return Err(state.wrong(what));
        }
        if !approval.by.contains(account) {
            return Err(StepError::NotAnApprover {
                action: action.clone(),
                account: account.clone(),
            });
        }
        Ok(state)
    }

    fn named(&mut self, action: &Name) -> Result<&mut ActionState, StepError> {
        let mut actions = self.actions_mut();
        let found = actions.find(|state| state.action.name == *action);
        found.ok_or_else(|| StepError::NoSuchAction(action.clone()))
    }
}

impl ActionState {
    fn begin(&mut self, now: OffsetDateTime) -> Effect {
        self.attempt += 1;
        self.started = Some(now);
        let action = self.action.name.clone();
        let attempt = self.attempt;
        if let Work::Approval(approval) = &self.action.work {
            // A span is at most a hundred years, but the clock may stand at the end of time.
            let until = now.saturating_add(approval.timeout.duration());
            self.status = ActionStatus::WaitingForApproval { until };
            return Effect::AskForApproval { action, until };
        }
        self.status = ActionStatus::Queued;
        match self.action.work.is_done_by_front() {
            true => Effect::DoInFront { action, attempt },
            false => Effect::Enqueue { action, attempt },
        }
    }

    fn finish(&mut self, status: ActionStatus, now: OffsetDateTime) {
        self.status = status;
        self.finished = Some(now);
    }

    fn wrong(&self, what: &'static str) -> StepError {
        StepError::WrongState {
            action: self.action.name.clone(),
            status: self.status.kind(),
            what,
        }
    }
}
