//! The worker's side of `/api/v1/worker`.

use std::time::Duration;

use client::control::{ControlClient, ControlError};

use crate::api::worker::{
    Assignment, Completion, Extended, FailureReport, Holder, LeaseRequest, LogBatch, WorkLine,
    WorkOutcome,
};
use crate::worker::WorkFailure;

/// How long the front may keep a request for work open, in seconds.
const WAIT_SECS: u32 = 20;
/// How long to wait before trying again to report a result.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// How often a result is reported: a front that is restarted is back in seconds, and a result
/// that is lost is only work done twice.
const REPORT_ATTEMPTS: u32 = 120;

/// What became of a message about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The front has it.
    Accepted,
    /// The lease is not ours any more, or the run was stopped.
    Lost,
}

/// A connection to the front under the worker's token.
#[derive(Clone)]
pub(crate) struct FrontClient {
    control: ControlClient,
    owner: String,
}

impl FrontClient {
    pub(crate) fn new(control: ControlClient, owner: String) -> Self {
        Self { control, owner }
    }

    /// Asks for work, and waits a while for it.
    pub(crate) async fn lease(&self) -> Result<Option<Assignment>, ControlError> {
        let request = LeaseRequest {
            owner: self.owner.clone(),
            wait_secs: WAIT_SECS,
        };
        self.control.post("api/v1/worker/lease", &request).await
    }

    /// Keeps the lease. A front that does not answer is no reason to stop: it decides when it is
    /// back.
    pub(crate) async fn extend(&self, job: i64, holder: &Holder) -> Delivery {
        let path = format!("api/v1/worker/jobs/{job}/extend");
        match self.control.post::<_, Extended>(&path, holder).await {
            Ok(answer) if answer.cancelled => Delivery::Lost,
            Err(error) if is_refusal(&error) => Delivery::Lost,
            Ok(_) => Delivery::Accepted,
            Err(error) => {
                tracing::warn!(job, %error, "the lease could not be extended");
                Delivery::Accepted
            }
        }
    }

    /// Sends log lines once.
    pub(crate) async fn log(
        &self,
        job: i64,
        holder: &Holder,
        lines: Vec<WorkLine>,
    ) -> Result<Delivery, ControlError> {
        let path = format!("api/v1/worker/jobs/{job}/log");
        let holder = holder.clone();
        let batch = LogBatch { holder, lines };
        match self.control.post::<_, ()>(&path, &batch).await {
            Ok(()) => Ok(Delivery::Accepted),
            Err(error) if is_refusal(&error) => Ok(Delivery::Lost),
            Err(error) => Err(error),
        }
    }

    /// Reports how the work ended.
    pub(crate) async fn report(
        &self,
        job: i64,
        holder: &Holder,
        result: Result<WorkOutcome, WorkFailure>,
    ) {
        for _ in 0..REPORT_ATTEMPTS {
            match self.report_once(job, holder, &result).await {
                Ok(()) => return,
                Err(error) if is_refusal(&error) => {
                    tracing::warn!(job, %error, "the front did not take the result");
                    return;
                }
                Err(error) => tracing::warn!(job, %error, "reporting again"),
            }
            tokio::time::sleep(REPORT_PAUSE).await;
        }
    }

    async fn report_once(
        &self,
        job: i64,
        holder: &Holder,
        result: &Result<WorkOutcome, WorkFailure>,
    ) -> Result<(), ControlError> {
        let holder = holder.clone();
        match result {
            Ok(outcome) => {
                let outcome = outcome.clone();
                let path = format!("api/v1/worker/jobs/{job}/complete");
                let body = Completion { holder, outcome };
                self.control.post(&path, &body).await
            }
            Err(failure) => {
                let path = format!("api/v1/worker/jobs/{job}/fail");
                let body = FailureReport {
                    holder,
                    code: failure.code.to_owned(),
                    reason: failure.reason.clone(),
                    retry: failure.retry,
                };
                self.control.post(&path, &body).await
            }
        }
    }
}

/// Whether the front has said no: asking again would change nothing.
fn is_refusal(error: &ControlError) -> bool {
    matches!(error, ControlError::Refused { status, .. } if *status < 500)
}
