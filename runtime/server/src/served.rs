//! A task as this server sees it: how requests are read, answered and told.

use std::fmt::Debug;
use std::future::Future;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use steppe_model::DataError;
use steppe_model::artifact::Artifact;
use steppe_model::card::ModelCard;
use steppe_model::task::Task;
use steppe_wire::predict::ModelRef;

use crate::body::check_json;
use crate::problems::RequestError;
use crate::service::Service;
use crate::tensors::{InferRequest, Signature, Slot, Values};

/// A task whose models are served.
pub trait Served: Task {
    /// What answers say of how good their model is.
    type Scores: Debug + Send + Sync;
    /// A data set in memory.
    type Held: Debug + Send + Sync + 'static;
    /// What requests to one model are read by.
    type Form: Debug + Send + Sync;

    /// What answers say about their model.
    fn model_ref(artifact: &Artifact<Self>) -> ModelRef<Self::Scores>;

    /// The name of the model in paths.
    fn called(spec: &Self::Spec) -> &str;

    /// What requests to the model of a card are read by.
    fn form(card: &ModelCard<Self>) -> Self::Form;

    /// A data set as the model of a card reads it.
    fn held(card: &ModelCard<Self>, files: Vec<Bytes>) -> Result<Self::Held, DataError>;

    /// Whether the model of a card would read it so, too.
    fn fits(card: &ModelCard<Self>, held: &Self::Held) -> bool;

    /// Refuses a type of body that `/invocations` does not read.
    fn check_invocation(headers: &HeaderMap) -> Result<(), RequestError> {
        check_json(headers)
    }

    /// The answer to a request.
    fn respond(
        service: &Service<Self>,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> impl Future<Output = Result<Response, RequestError>> + Send;

    /// The tensors of a model.
    fn signature(card: &ModelCard<Self>) -> Signature;

    /// The outputs that tensors are answered with.
    fn infer(
        service: &Service<Self>,
        request: &InferRequest,
        model_version: Option<String>,
        outputs: &[&str],
    ) -> impl Future<Output = Result<Inferred, RequestError>> + Send;
}

/// Tensors of an answer.
#[derive(Debug)]
pub struct Inferred {
    /// The version of the model.
    pub version: String,
    /// The outputs in the order in which they were asked for, with their true shapes.
    pub outputs: Vec<(Slot, Values)>,
}
