//! Access keys of users.
//!
//! Their secrets lie in the store as those of sessions do, readable to the owner of the cloud's
//! folder only; they are told once, when a key is made, and are in no log.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Credentials, USER_KEY};

/// A key of a user.
#[derive(Clone, Serialize, Deserialize)]
pub struct AccessKey {
    /// Name of the user.
    pub user: String,
    /// The user's ID.
    pub user_id: String,
    /// Whether requests may be signed with it.
    pub is_active: bool,
    /// When it was made.
    pub created: Timestamp,
    secret: String,
}

impl fmt::Debug for AccessKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, is_active, .. } = self;
        f.debug_struct("AccessKey").field("user", user).field("is_active", is_active).finish()
    }
}

impl AccessKey {
    /// A new, active key.
    pub fn new(user: &str, user_id: &str, created: Timestamp) -> Self {
        let secret = Credentials::random(USER_KEY).secret_access_key;
        let (user, user_id) = (user.to_owned(), user_id.to_owned());
        Self { user, user_id, is_active: true, created, secret }
    }

    /// The ID of a new key.
    pub fn new_id() -> String {
        Credentials::random(USER_KEY).access_key_id
    }

    /// `Active` or `Inactive`.
    pub fn status(&self) -> &'static str {
        if self.is_active { "Active" } else { "Inactive" }
    }

    /// The key of this ID with its secret.
    pub fn credentials(&self, access_key_id: &str) -> Credentials {
        Credentials {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: self.secret.clone(),
            session_token: None,
            expires: None,
        }
    }
}
