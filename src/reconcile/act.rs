//! Third step: run the actions, each by itself. A refused description update never stops the mirror, nor the reverse.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;

use super::{Action, Context, Done, FIELD_MANAGER, Outcome};
use crate::error::ClusterFailure;
use crate::gateway::reader::Described;
use crate::gateway::{Gateway, GatewayError, Outage, Source};
use crate::target::{Desired, Marks, Target, TargetMeta};
use crate::text;

/// How long an update of a description may go on after the process was asked to stop. What follows it, the status and
/// the events, has to fit into the same eight seconds.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs the actions. Those on earlier targets wait for the target itself, and are left out when it fails.
pub async fn act<G: Gateway>(namespace: &str, actions: &[Action], context: &Context<G>) -> Vec<Outcome> {
    let (descriptions, writes): (Vec<_>, Vec<_>) =
        actions.iter().cloned().partition(|action| matches!(action, Action::SetDescription { .. }));
    let describing = join_all(descriptions.into_iter().map(|action| run(action, namespace, context)));
    let (mut outcomes, described) = tokio::join!(write_in_order(writes, namespace, context), describing);
    outcomes.extend(described);
    outcomes
}

/// Runs the writes of a second look in place of those of the first. The description was tried already.
pub async fn again<G: Gateway>(
    before: Vec<Outcome>,
    namespace: &str,
    actions: &[Action],
    context: &Context<G>,
) -> Vec<Outcome> {
    let is_description = |action: &Action| matches!(action, Action::SetDescription { .. });
    let writes = actions.iter().filter(|action| !is_description(action)).cloned().collect();
    let mut outcomes = write_in_order(writes, namespace, context).await;
    outcomes.extend(before.into_iter().filter(|outcome| is_description(&outcome.action)));
    outcomes
}

/// Whether the target was there, or changed, where the cache believed otherwise.
pub fn somebody_came_first(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| {
        matches!(outcome.action, Action::CreateTarget { .. } | Action::ReplaceTarget { .. })
            && matches!(outcome.done, Done::NotWritten(ClusterFailure::AlreadyExists | ClusterFailure::Conflict))
    })
}

async fn write_in_order<G: Gateway>(actions: Vec<Action>, namespace: &str, context: &Context<G>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(actions.len());
    for action in actions {
        let of_earlier = matches!(action, Action::DeleteTarget { .. } | Action::ReleaseTarget { .. });
        let failed = outcomes.iter().any(|outcome| outcome.done != Done::Written);
        if of_earlier && failed {
            outcomes.push(Outcome { action, done: Done::Skipped });
        } else {
            outcomes.push(run(action, namespace, context).await);
        }
    }
    outcomes
}

async fn run<G: Gateway>(action: Action, namespace: &str, context: &Context<G>) -> Outcome {
    let done = match &action {
        Action::CreateTarget { desired, .. } => written(create(desired, context).await),
        Action::ReplaceTarget { current, desired, marks, immutable, .. } => {
            let mut secret = secret(desired, marks.clone(), Some(current));
            secret.immutable = immutable.then_some(true);
            written(replace(secret, desired, context).await)
        }
        Action::DeleteTarget { current } => written(delete(current, context).await),
        Action::ReleaseTarget { current } => written(release(current, context).await),
        Action::SetDescription { source, to, .. } => match set_description(source, to, namespace, context).await {
            Described::Done(Ok(answer)) => Done::Described(answer.description),
            Described::Done(Err(error)) => Done::NotDescribed(error),
            Described::Later(at) => Done::Later(at),
        },
    };
    Outcome { action, done }
}

fn written(result: Result<(), ClusterFailure>) -> Done {
    match result {
        Ok(()) => Done::Written,
        Err(failure) => Done::NotWritten(failure),
    }
}

async fn create<G>(desired: &Desired, context: &Context<G>) -> Result<(), ClusterFailure> {
    let marks = desired.merge(None);
    let secret = secret(desired, marks, None);
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &desired.namespace);
    let created = secrets.create(&write_params(), &secret).await;
    learn(created.map_err(|error| classify(&error, "create"))?, context);
    Ok(())
}

async fn replace<G>(secret: Secret, desired: &Desired, context: &Context<G>) -> Result<(), ClusterFailure> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &desired.namespace);
    let replaced = secrets.replace(&desired.target.name, &write_params(), &secret).await;
    match replaced.map_err(|error| classify(&error, "update")) {
        Ok(replaced) => learn(replaced, context),
        Err(failure) => {
            // What the index knew is not to be trusted for the next look.
            context.index.targets().forget(&desired.namespace, &desired.target);
            return Err(failure);
        }
    }
    Ok(())
}

async fn delete<G>(current: &TargetMeta, context: &Context<G>) -> Result<(), ClusterFailure> {
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.client.clone(), &current.namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(current.uid.clone()),
            resource_version: Some(current.resource_version.clone()),
        }),
        ..DeleteParams::default()
    };
    match secrets.delete(&current.target.name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(classify(&error, "delete")),
    }
    context.index.targets().forget(&current.namespace, &current.target);
    Ok(())
}

/// Takes our marks off. The content is carried over from a fresh look, and the version makes sure that it is that.
async fn release<G>(current: &TargetMeta, context: &Context<G>) -> Result<(), ClusterFailure> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &current.namespace);
    let name = &current.target.name;
    let found = secrets.get_opt(name).await.map_err(|error| classify(&error, "get"))?;
    let is_it = |secret: &Secret| {
        let found = TargetMeta::from_meta(current.target.kind, secret.metadata.clone());
        found.uid == current.uid && found.owner_name() == current.owner_name()
    };
    let Some(mut secret) = found.filter(is_it) else {
        context.index.targets().forget(&current.namespace, &current.target);
        return Ok(());
    };
    let marks = TargetMeta::from_meta(current.target.kind, secret.metadata.clone()).released();
    secret.metadata.labels = Some(marks.labels);
    secret.metadata.annotations = Some(marks.annotations);
    secret.metadata.owner_references = Some(marks.owner_references);
    secret.metadata.managed_fields = None;
    let replaced = secrets.replace(name, &write_params(), &secret).await;
    learn(replaced.map_err(|error| classify(&error, "update"))?, context);
    Ok(())
}

/// An update that is under way when the process is asked to stop gets a moment to end, so that it is not cut in half.
async fn set_description<G: Gateway>(source: &Source, to: &str, namespace: &str, context: &Context<G>) -> Described {
    let mut stopping = context.stopping.clone();
    let too_late = async {
        let _ = stopping.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(LAST_WORDS).await;
    };
    tokio::select! {
        described = context.reader.set_description(source, to, namespace) => described,
        () = too_late => {
            Described::Done(Err(GatewayError::Unavailable { outage: Outage::TimedOut, retry_after: None }))
        }
    }
}

fn secret(desired: &Desired, marks: Marks, current: Option<&TargetMeta>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(desired.target.name.clone()),
            namespace: Some(desired.namespace.clone()),
            uid: current.map(|current| current.uid.clone()),
            resource_version: current.map(|current| current.resource_version.clone()),
            finalizers: current.map(|current| current.finalizers.clone()).filter(|finalizers| !finalizers.is_empty()),
            labels: Some(marks.labels),
            annotations: Some(marks.annotations),
            owner_references: Some(marks.owner_references),
            ..ObjectMeta::default()
        },
        type_: Some(desired.type_.to_owned()),
        data: Some(desired.data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect()),
        ..Secret::default()
    }
}

fn write_params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

fn learn<G>(secret: Secret, context: &Context<G>) {
    context.index.targets().learn(Target::of_secret(secret));
}

/// What the API server's answer to a request for Secrets means.
pub fn classify(error: &kube::Error, verb: &'static str) -> ClusterFailure {
    let kube::Error::Api(status) = error else {
        return ClusterFailure::Unavailable { cause: "no connection".to_owned() };
    };
    let message = status.message.as_str();
    let has_cause =
        |reason: &str| status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == reason);
    match status.code {
        403 if has_cause("NamespaceTerminating") => ClusterFailure::NamespaceTerminating,
        403 if message.contains("exceeded quota") => ClusterFailure::QuotaExceeded,
        // What RBAC says; admission speaks otherwise.
        403 if message.contains("cannot") => ClusterFailure::Forbidden { verb, resource: "secrets" },
        404 if message.starts_with("namespaces ") => ClusterFailure::NamespaceTerminating,
        404 | 410 => ClusterFailure::Conflict,
        409 if status.reason == "AlreadyExists" => ClusterFailure::AlreadyExists,
        409 => ClusterFailure::Conflict,
        413 => ClusterFailure::TooLarge,
        422 if message.contains("Too long") || message.contains("too long") => ClusterFailure::TooLarge,
        429 | 500..=599 if !message.contains("denied") => {
            ClusterFailure::Unavailable { cause: format!("HTTP status {}", status.code) }
        }
        _ => ClusterFailure::Refused { message: text::stable(message) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{Status, StatusCause, StatusDetails};

    fn api(code: u16, reason: &str, message: &str, cause: &str) -> kube::Error {
        let mut status = Status::failure(message, reason).with_code(code);
        status.details = Some(StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: vec![StatusCause { reason: cause.into(), message: String::new(), field: String::new() }],
            retry_after_seconds: 0,
        });
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn every_answer_of_the_api_server_has_its_class() {
        let forbidden = ClusterFailure::Forbidden { verb: "create", resource: "secrets" };
        for (error, failure) in [
            (api(409, "AlreadyExists", "secrets \"x\" already exists", ""), ClusterFailure::AlreadyExists),
            (api(409, "Conflict", "the object has been modified", ""), ClusterFailure::Conflict),
            (api(404, "NotFound", "secrets \"x\" not found", ""), ClusterFailure::Conflict),
            (api(404, "NotFound", "namespaces \"x\" not found", ""), ClusterFailure::NamespaceTerminating),
            (
                api(403, "Forbidden", "unable to create new content", "NamespaceTerminating"),
                ClusterFailure::NamespaceTerminating,
            ),
            (api(403, "Forbidden", "exceeded quota: q, used: secrets=5", ""), ClusterFailure::QuotaExceeded),
            (api(403, "Forbidden", "User \"u\" cannot create resource \"secrets\"", ""), forbidden),
            (api(422, "Invalid", "data: Too long: may not be more than 1048576 bytes", ""), ClusterFailure::TooLarge),
            (api(413, "RequestEntityTooLarge", "limit is 3145728", ""), ClusterFailure::TooLarge),
            (
                api(422, "Invalid", "ValidatingAdmissionPolicy 'p' denied request: no", ""),
                ClusterFailure::Refused { message: "ValidatingAdmissionPolicy 'p' denied request: no".into() },
            ),
            (
                api(400, "BadRequest", "admission webhook \"w\" denied the request: no", ""),
                ClusterFailure::Refused { message: "admission webhook \"w\" denied the request: no".into() },
            ),
            (api(500, "InternalError", "etcd", ""), ClusterFailure::Unavailable { cause: "HTTP status 500".into() }),
        ] {
            assert_eq!(classify(&error, "create"), failure);
        }
    }
}
