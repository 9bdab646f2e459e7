//! What the data plane keeps beside a session: its app and its model.

use crate::negotiate::{ModelError, SessionModel};

/// A session read back from the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Whose it is.
    pub app: String,
    /// What has been negotiated.
    pub model: SessionModel,
}

/// Bytes that are no stored session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// The app's id is cut off or no text.
    #[error("the session's app cannot be read")]
    App,
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl StoredSession {
    /// One byte with the length of the app's id, the id, and the model.
    pub fn encode(app: &str, model: &SessionModel) -> Vec<u8> {
        let length = u8::try_from(app.len());
        assert!(
            length.is_ok(),
            "settings and the store keep ids of apps short"
        );
        let mut bytes = vec![length.unwrap_or_default()];
        bytes.extend_from_slice(app.as_bytes());
        bytes.extend_from_slice(&model.encode());
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// See [`StoredError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredError> {
        let (length, rest) = bytes.split_first().ok_or(StoredError::App)?;
        let (app, model) = rest
            .split_at_checked(usize::from(*length))
            .ok_or(StoredError::App)?;
        let app = std::str::from_utf8(app).map_err(|_| StoredError::App)?;
        Ok(Self {
            app: app.to_owned(),
            model: SessionModel::decode(model)?,
        })
    }
}
