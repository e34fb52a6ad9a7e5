//! Tokens of ServiceAccounts, as a node asks for them on behalf of its pods.

use serde::{Deserialize, Serialize};

use crate::codec::{FrameWriter, StreamError};
use crate::frame::Opening;
use crate::link::Link;

/// The server signs at once; longer means that it is away.
const ANSWER_SECONDS_MAX: u64 = 10;

/// A token for one pod of the node that asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenRequest {
    pub namespace: String,
    /// The ServiceAccount that the pod runs as.
    pub account: String,
    pub pod: String,
    pub pod_uid: String,
    /// Empty for the API itself.
    pub audience: String,
    pub seconds: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAnswer {
    /// A secret. `seconds` are those after which it should have been replaced.
    Issued {
        token: String,
        seconds: u64,
    },
    Refused {
        message: String,
    },
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Issued { seconds, .. } => write!(f, "Issued {{ seconds: {seconds} }}"),
            Self::Refused { message } => write!(f, "Refused {{ message: {message:?} }}"),
        }
    }
}

/// Where the server answers a [`TokenRequest`].
#[derive(Debug)]
pub struct TokenReply {
    writer: FrameWriter,
}

impl TokenReply {
    pub(crate) fn new(writer: FrameWriter) -> Self {
        Self { writer }
    }

    pub async fn answer(mut self, answer: &TokenAnswer) -> Result<(), StreamError> {
        self.writer.send(answer).await?;
        self.writer.finish();
        Ok(())
    }
}

impl Link {
    /// Asks the server for a token.
    pub async fn token(&self, request: TokenRequest) -> Result<TokenAnswer, StreamError> {
        let (_writer, mut reader) = self.open(&Opening::Token(request)).await?;
        reader.expect::<TokenAnswer>(ANSWER_SECONDS_MAX).await
    }
}
