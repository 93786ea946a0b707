//! Who calls: access keys, temporary credentials of roles, and signatures.
//!
//! There are the administrator, users with keys of their own ([`keys`]) and sessions of roles.
//! Sessions that services take on for what runs in them end with this process; sessions of
//! `sts:AssumeRole` belong to clients and are kept until they expire.

pub mod keys;
pub mod signature;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use steppe_wire::hint::Hinted;

use self::keys::AccessKey;
use crate::kernel::cloud::Config;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::folder::write_private;
use crate::kernel::store::{Store, Table};

/// How long temporary credentials of services are good.
const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// Sessions of `sts:AssumeRole` that are good at the same time.
const ASSUMED_MAX: usize = 5_000;
/// Resources that are remembered of one call.
const TOUCHED_MAX: usize = 20;
/// What the IDs of keys begin with that belong to users.
const USER_KEY: &str = "AKIA";
/// The administrator's unique ID.
pub const ADMINISTRATOR_ID: &str = "AIDAEMBEDDEDADMINISTR";

/// Whom a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// The account's administrator.
    Administrator,
    /// A user, by one of its access keys.
    User {
        /// Name of the user.
        user: String,
        /// Its ID: a user that is made anew under the same name is another one.
        user_id: String,
    },
    /// A role, taken on by a service for something in it, or by somebody through STS.
    Role {
        /// Name of the role.
        role: String,
        /// Its ID: a role that is made anew under the same name is another one.
        role_id: String,
        /// Name of the session: the function, the instance, the job.
        session: String,
    },
    /// A service itself, for one of its resources: it may what the policies of resources allow it.
    Service {
        /// `events.amazonaws.com`.
        name: String,
        /// The ARN of the resource.
        source_arn: String,
    },
}

/// Where a request comes from, as far as condition keys ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address of the client; nothing for calls that a service makes.
    pub source_ip: Option<IpAddr>,
    /// The client's name for itself.
    pub user_agent: Option<String>,
    /// The service that makes the call on behalf of the caller.
    pub called_via: Option<String>,
    /// The access key that the request is signed with.
    pub access_key_id: Option<String>,
    /// The request's ID.
    pub request_id: Option<String>,
    /// What the call was found to be about.
    pub touched: Touched,
}

/// Resources that permissions were asked for in the course of a call. Clones are the same list, and
/// who calls does not depend on it.
#[derive(Debug, Clone, Default)]
pub struct Touched(Arc<Mutex<Vec<String>>>);

impl PartialEq for Touched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Touched {}

impl Touched {
    /// Adds an ARN; what names nothing, or comes after many, is left out.
    pub fn add(&self, arn: &str) {
        let mut all = self.0.lock();
        let is_named = arn.starts_with("arn:") && !arn.ends_with('*');
        if is_named && all.len() < TOUCHED_MAX && !all.iter().any(|known| known == arn) {
            all.push(arn.to_owned());
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// A caller whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// ARN as AWS reports it.
    pub arn: String,
    /// Function on whose behalf the call is made, for `lambda:SourceFunctionArn`.
    pub source_function: Option<String>,
    /// When the session began; nothing for keys of users.
    pub issued: Option<Timestamp>,
    /// The policy that the session was begun with, which narrows what its role may.
    #[serde(default)]
    pub session_policy: Option<Value>,
    /// Where the request comes from.
    #[serde(skip)]
    pub origin: Origin,
}

impl Caller {
    /// Somebody who is no session.
    fn lasting(principal: Principal, arn: String) -> Self {
        let (source_function, issued, session_policy) = (None, None, None);
        let origin = Origin::default();
        Self { principal, arn, source_function, issued, session_policy, origin }
    }

    /// `AIDA…`, or `AROA…:SESSION`.
    pub fn user_id(&self) -> String {
        match &self.principal {
            Principal::Administrator => ADMINISTRATOR_ID.to_owned(),
            Principal::User { user_id, .. } => user_id.clone(),
            Principal::Role { role_id, session, .. } => format!("{role_id}:{session}"),
            Principal::Service { name, .. } => name.clone(),
        }
    }

    /// The same caller for one call, of which nothing is known yet.
    pub fn anew(&self) -> Self {
        let origin = Origin { touched: Touched::default(), ..self.origin.clone() };
        Self { origin, ..self.clone() }
    }

    /// The same caller with the request's origin.
    pub fn from(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// The same caller, when `service` makes calls on its behalf.
    pub fn via(&self, service: &str) -> Self {
        let origin = Origin { called_via: Some(service.to_owned()), ..Origin::default() };
        Self { origin, ..self.clone() }
    }
}

/// A key with its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Public part.
    pub access_key_id: String,
    /// Secret part.
    pub secret_access_key: String,
    /// Token of temporary credentials.
    pub session_token: Option<String>,
    /// End of temporary credentials.
    pub expires: Option<Timestamp>,
}

impl Credentials {
    fn random(prefix: &str) -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            access_key_id: format!("{prefix}{}", random()[..16].to_uppercase()),
            secret_access_key: random() + &random()[..8],
            session_token: None,
            expires: None,
        }
    }

    fn temporary(duration: SignedDuration) -> Self {
        Self {
            session_token: Some(uuid::Uuid::new_v4().simple().to_string()),
            expires: Some(Timestamp::now() + duration),
            ..Self::random("ASIA")
        }
    }

    fn expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= Timestamp::now())
    }

    /// As environment variables of a child process.
    pub fn env(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.secret_access_key.clone()),
        ];
        pairs
            .extend(self.session_token.iter().map(|t| ("AWS_SESSION_TOKEN".to_owned(), t.clone())));
        pairs
    }
}

/// A session with its credentials.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    credentials: Credentials,
    caller: Caller,
}

/// All keys.
#[derive(Debug)]
pub struct Identities {
    administrator: Credentials,
    /// When the administrator's key was made.
    pub administrator_since: Timestamp,
    /// Keys of users, by their IDs.
    pub keys: Table<AccessKey>,
    account: String,
    region: String,
    sessions: RwLock<HashMap<String, Session>>,
    assumed: Table<Session>,
}

impl Identities {
    /// Reads the administrator's key, or makes one; only its owner can read the file.
    pub fn open(config: &Config, store: &Arc<Store>) -> Result<Self> {
        let file = config.state_dir.join("credentials.json");
        let administrator = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let is_damaged = format!("{} is damaged", file.display());
                let hint = "delete the file, and a new key is made at the next start";
                Hinted::new(is_damaged, hint).because(error)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let made = Credentials::random(USER_KEY);
                write_private(&file, &serde_json::to_vec_pretty(&made)?)
                    .with_context(|| format!("cannot write {}", file.display()))?;
                made
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        let made = std::fs::metadata(&file).and_then(|metadata| metadata.modified());
        let made = made.with_context(|| format!("cannot read {}", file.display()))?;
        let assumed: Table<Session> = Table::new(store, "sessions");
        for (key, session) in assumed.all() {
            if session.credentials.expired() {
                assumed.remove(&key)?;
            }
        }
        Ok(Self {
            administrator,
            administrator_since: Timestamp::try_from(made)?,
            keys: Table::new(store, "access_keys"),
            account: config.account.clone(),
            region: config.region.clone(),
            sessions: RwLock::default(),
            assumed,
        })
    }

    /// The region that signatures must be for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The administrator as a caller.
    pub fn administrator(&self) -> Caller {
        Caller::lasting(
            Principal::Administrator,
            format!("arn:aws:iam::{}:user/administrator", self.account),
        )
    }

    /// The ID of the administrator's key.
    pub fn administrator_key(&self) -> &str {
        &self.administrator.access_key_id
    }

    /// A user as a caller.
    fn user(&self, user: &str, user_id: &str) -> Caller {
        let arn = format!("arn:aws:iam::{}:user/{user}", self.account);
        let (user, user_id) = (user.to_owned(), user_id.to_owned());
        Caller::lasting(Principal::User { user, user_id }, arn)
    }

    /// The role as a caller, without credentials: for calls that a service makes itself.
    pub fn role(&self, role: &str, role_id: &str, session: &str) -> Caller {
        let arn = format!("arn:aws:sts::{}:assumed-role/{role}/{session}", self.account);
        let (role, role_id) = (role.to_owned(), role_id.to_owned());
        Caller {
            principal: Principal::Role { role, role_id, session: session.to_owned() },
            arn,
            source_function: None,
            issued: Some(Timestamp::now()),
            session_policy: None,
            origin: Origin::default(),
        }
    }

    /// A service as a caller, for one of its resources.
    pub fn service(&self, name: &str, source_arn: &str) -> Caller {
        let source_arn = source_arn.to_owned();
        let principal = Principal::Service { name: name.to_owned(), source_arn };
        Caller::lasting(principal, name.to_owned())
    }

    /// Temporary credentials for `caller`, as long as this process lives.
    pub fn session(&self, caller: Caller) -> Credentials {
        let credentials = Credentials::temporary(SESSION);
        let session = Session { credentials: credentials.clone(), caller };
        let mut sessions = self.sessions.write();
        sessions.retain(|_, session| !session.credentials.expired());
        sessions.insert(credentials.access_key_id.clone(), session);
        credentials
    }

    /// Temporary credentials that outlive this process.
    pub fn assumed_session(
        &self,
        caller: Caller,
        duration: SignedDuration,
    ) -> ApiResult<Credentials> {
        let kept = self.assumed.all();
        let (expired, good): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|(_, session)| session.credentials.expired());
        for (key, _) in &expired {
            self.assumed.remove(key)?;
        }
        if good.len() >= ASSUMED_MAX {
            return Err(ApiError::new("Throttling", "Rate exceeded"));
        }
        let credentials = Credentials::temporary(duration);
        let session = Session { credentials: credentials.clone(), caller };
        self.assumed.put(&credentials.access_key_id, session)?;
        Ok(credentials)
    }

    /// The secret and the caller of an access key; the token must be the one it was given with.
    pub fn lookup(&self, access_key_id: &str, token: Option<&str>) -> ApiResult<(String, Caller)> {
        let unknown = || {
            ApiError::new(
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
            .with_status(403)
        };
        let (credentials, caller) = self.find(access_key_id).ok_or_else(unknown)?;
        if credentials.session_token.as_deref() != token {
            return Err(unknown());
        }
        if credentials.expired() {
            return Err(ApiError::expired_token());
        }
        Ok((credentials.secret_access_key, caller))
    }

    /// The secret of an access key, whatever token comes with it.
    pub fn secret(&self, access_key_id: &str) -> Option<String> {
        self.find(access_key_id).map(|(credentials, _)| credentials.secret_access_key)
    }

    fn find(&self, access_key_id: &str) -> Option<(Credentials, Caller)> {
        if access_key_id == self.administrator.access_key_id {
            return Some((self.administrator.clone(), self.administrator()));
        }
        if access_key_id.starts_with(USER_KEY) {
            let key = self.keys.get(access_key_id)?;
            // An inactive key is as good as none.
            let credentials = key.is_active.then(|| key.credentials(access_key_id))?;
            return Some((credentials, self.user(&key.user, &key.user_id)));
        }
        let sessions = self.sessions.read();
        let session = sessions.get(access_key_id).cloned();
        let session = session.or_else(|| self.assumed.get(access_key_id).map(|s| (*s).clone()))?;
        Some((session.credentials, session.caller))
    }
}
