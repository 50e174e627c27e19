//! What a scenario's file says.
//!
//! ```text
//! scenario = { description?, lenient?, accounts: [account], messages: [message] }
//! account  = { identity: { did, handle?, alsoKnownAs?, services?, keys: { atproto?: key } }, status? }
//! key      = { type, publicKeyMultibase }
//! message  = { frame: { header: { op, t? }, body }, drop?, invalid?, update? }
//! ```
//!
//! `drop`: the relay does not pass it on; `invalid`: it breaks a rule, passed on or not; `update`: it
//! changes what is known of its account. `lenient`: commits of the old form are passed on. What is
//! missing is false, and field names are told apart by their letters, not by their case, as its
//! authors' reader has it. A field that is not named here is no reason to fail, but is said.

use data_encoding::BASE64_NOPAD;
use ipld_core::ipld::Ipld;
use serde_json::{Map, Value, json};

/// A scenario.
pub struct Scenario {
    pub lenient: bool,
    accounts: Vec<Account>,
    pub messages: Vec<Message>,
    /// Fields that nobody here knows.
    pub unknown: Vec<String>,
}

struct Account {
    did: String,
    /// The did:key of its signing key, if it has one.
    key: Option<String>,
}

/// One message.
pub struct Message {
    /// `#commit`, or `error`.
    pub kind: String,
    pub did: String,
    pub body: Value,
    /// Header and body as they go over the socket.
    pub bytes: Vec<u8>,
    pub drop: bool,
    pub invalid: bool,
    pub update: bool,
}

impl Message {
    /// Whether a field of its body is true.
    pub fn says(&self, field: &str) -> bool {
        get(&self.body, field) == &Value::Bool(true)
    }
}

impl Scenario {
    /// Reads a file's contents.
    ///
    /// # Errors
    /// What it lacks: it is no scenario, or one that this test cannot play.
    pub fn read(bytes: &[u8]) -> Result<Scenario, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let mut unknown = Vec::new();
        let mut only = |value: &Value, what: &str, known: &[&str]| {
            let names = value.as_object().into_iter().flat_map(Map::keys);
            let others = names.filter(|name| !known.iter().any(|it| it.eq_ignore_ascii_case(name)));
            unknown.extend(others.map(|name| format!("{name} of {what}")));
        };
        only(&value, "a scenario", &["description", "lenient", "accounts", "messages"]);
        let list = |field: &str| match get(&value, field) {
            Value::Array(list) => Ok(list),
            _ => Err(format!("no list of {field}: not a scenario")),
        };
        let mut accounts = Vec::new();
        for account in list("accounts")? {
            only(account, "an account", &["identity", "status"]);
            accounts.push(Account::read(account)?);
        }
        let mut messages = Vec::new();
        for message in list("messages")? {
            only(message, "a message", &["frame", "drop", "invalid", "update"]);
            only(get(message, "frame"), "a frame", &["header", "body"]);
            only(get(get(message, "frame"), "header"), "a header", &["op", "t"]);
            messages.push(Message::read(message)?);
        }
        if messages.is_empty() {
            return Err("it has no messages".to_owned());
        }
        let lenient = flag(&value, "lenient")?;
        unknown.dedup();
        Ok(Scenario { lenient, accounts, messages, unknown })
    }

    /// Whether it says whose key an account's is.
    pub fn knows(&self, did: &str) -> bool {
        self.accounts.iter().any(|account| account.did == did)
    }

    /// A directory's export in which all the accounts live at this host.
    pub fn export(&self, host: &str) -> String {
        let lines = self.accounts.iter().map(|Account { did, key }| {
            let methods = match key {
                Some(key) => json!({ "atproto": key }),
                None => json!({}),
            };
            let operation = json!({
                "type": "plc_operation",
                "verificationMethods": methods,
                "rotationKeys": [],
                "alsoKnownAs": [],
                "services": { "atproto_pds": {
                    "type": "AtprotoPersonalDataServer", "endpoint": format!("http://{host}"),
                }},
                "prev": null,
                "sig": "x",
            });
            let line = json!({
                "did": did, "operation": operation,
                "cid": "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
                "nullified": false, "createdAt": "2023-01-01T00:00:00.000Z",
            });
            format!("{line}\n")
        });
        lines.collect()
    }
}

impl Account {
    fn read(account: &Value) -> Result<Account, String> {
        let identity = get(account, "identity");
        let did = get(identity, "did").as_str().ok_or("an account without a DID")?.to_owned();
        if !did.starts_with("did:plc:") {
            return Err(format!("{did}: only did:plc can be played, others have no export"));
        }
        let key = get(get(identity, "keys"), "atproto");
        let text = |field: &str| get(key, field).as_str();
        let key = match (text("type"), text("publicKeyMultibase")) {
            (_, None) => None,
            (Some("Multikey") | None, Some(key)) => Some(format!("did:key:{key}")),
            (Some(kind), Some(key)) => {
                let key = keys::PublicKey::from_verification_method(kind, key);
                Some(key.map_err(|error| format!("{did}: {error}"))?.to_did_key())
            }
        };
        Ok(Account { did, key })
    }
}

impl Message {
    fn read(message: &Value) -> Result<Message, String> {
        let frame = get(message, "frame");
        let (header, body) = (get(frame, "header"), get(frame, "body").clone());
        let kind = match (get(header, "op").as_i64(), get(header, "t").as_str()) {
            (Some(1), Some(kind)) => kind.to_owned(),
            (Some(-1), _) => "error".to_owned(),
            other => return Err(format!("a header that no frame has: {other:?}")),
        };
        if !body.is_object() {
            return Err(format!("{kind}: no body"));
        }
        let body = with_defaults(&kind, body);
        let did = ["repo", "did"].iter().find_map(|name| get(&body, name).as_str());
        let part = |value: &Value| {
            serde_ipld_dagcbor::to_vec(&ipld(value)?).map_err(|error| error.to_string())
        };
        Ok(Message {
            did: did.unwrap_or_default().to_owned(),
            bytes: [part(header)?, part(&body)?].concat(),
            kind,
            body,
            drop: flag(message, "drop")?,
            invalid: flag(message, "invalid")?,
            update: flag(message, "update")?,
        })
    }
}

/// A field whatever the case of its name; null if it is not there.
fn get<'v>(value: &'v Value, name: &str) -> &'v Value {
    let fields = value.as_object().into_iter().flatten();
    let mut fields = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    fields.next().map_or(&Value::Null, |(_, value)| value)
}

fn flag(value: &Value, name: &str) -> Result<bool, String> {
    match get(value, name) {
        Value::Null => Ok(false),
        Value::Bool(flag) => Ok(*flag),
        other => Err(format!("{name} is {other}")),
    }
}

/// Fields that the authors' reader fills in where a file leaves them out.
fn with_defaults(kind: &str, mut body: Value) -> Value {
    let Some(fields) = body.as_object_mut() else { return body };
    let mut put = |name: &str, value: Value| {
        fields.entry(name).or_insert(value);
    };
    if kind.starts_with('#') {
        put("time", json!(""));
    }
    if kind == "#commit" {
        put("blobs", json!(null));
        put("since", json!(null));
        put("rebase", json!(false));
        put("tooBig", json!(false));
        put("ops", json!([]));
        let ops = fields.get_mut("ops").and_then(Value::as_array_mut).into_iter().flatten();
        for op in ops.filter_map(Value::as_object_mut) {
            op.entry("cid").or_insert(json!(null));
        }
        // A list that is not there is an empty one.
        if fields.get("ops").is_some_and(Value::is_null) {
            fields.insert("ops".to_owned(), json!([]));
        }
    }
    body
}

/// JSON with `$bytes` and `$link`, as it stands in the data model.
fn ipld(value: &Value) -> Result<Ipld, String> {
    let one = |name: &str| match value.as_object() {
        Some(fields) if fields.len() == 1 => fields.get(name)?.as_str(),
        _ => None,
    };
    if let Some(bytes) = one("$bytes") {
        let bytes = BASE64_NOPAD.decode(bytes.trim_end_matches('=').as_bytes());
        return bytes.map(Ipld::Bytes).map_err(|error| format!("$bytes: {error}"));
    }
    if let Some(link) = one("$link") {
        return link.parse().map(Ipld::Link).map_err(|error| format!("$link {link}: {error}"));
    }
    Ok(match value {
        Value::Null => Ipld::Null,
        Value::Bool(value) => Ipld::Bool(*value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => Ipld::Integer(value.into()),
            None => return Err(format!("{value}: numbers are whole")),
        },
        Value::String(value) => Ipld::String(value.clone()),
        Value::Array(values) => Ipld::List(values.iter().map(ipld).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Ok((name.clone(), ipld(value)?)));
            Ipld::Map(fields.collect::<Result<_, String>>()?)
        }
    })
}
