//! An operation's fields, and the bytes that are hashed and signed.
//!
//! These are DAG-CBOR: a map of text to text, lists and maps of text, and null, with the keys of
//! a map by length and then by bytes. The signature's key, `sig`, is the shortest of all, so the
//! bytes that are signed are those that are hashed, without their first entry.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use atproto::Cid;
use data_encoding::BASE64URL_NOPAD;
use keys::PublicKey;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use sha2::{Digest, Sha256};

use super::{Fault, Note};

/// Text that is borrowed if it has no escapes, in lists and options too.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    sig: Cow<'a, str>,
    /// Null is a value of it, other than nothing.
    #[serde(borrow, default, deserialize_with = "some")]
    prev: Option<Option<Text<'a>>>,
    #[serde(borrow)]
    rotation_keys: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    also_known_as: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    verification_methods: Option<Map<'a, Text<'a>>>,
    #[serde(borrow)]
    services: Option<Map<'a, Service<'a>>>,
    #[serde(borrow)]
    signing_key: Option<Text<'a>>,
    #[serde(borrow)]
    recovery_key: Option<Text<'a>>,
    #[serde(borrow)]
    handle: Option<Text<'a>>,
    #[serde(borrow)]
    service: Option<Text<'a>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Service<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
}

fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The entries of a map in the order of DAG-CBOR.
struct Map<'a, T>(Vec<(Cow<'a, str>, T)>);

impl<'de: 'a, 'a, T: Deserialize<'de> + 'a> Deserialize<'de> for Map<'a, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<'a, T>(PhantomData<&'a T>);
        impl<'de: 'a, 'a, T: Deserialize<'de> + 'a> Visitor<'de> for Entries<'a, T> {
            type Value = Map<'a, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, T>()? {
                    entries.push((key, value));
                }
                entries.sort_by(|(a, _), (b, _)| (a.len(), a).cmp(&(b.len(), b)));
                if entries.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
                    return Err(A::Error::custom("a key that comes twice"));
                }
                Ok(Map(entries))
            }
        }
        from.deserialize_map(Entries(PhantomData))
    }
}

enum Form<'a> {
    Operation {
        rotation_keys: Vec<Text<'a>>,
        also_known_as: Vec<Text<'a>>,
        verification_methods: Map<'a, Text<'a>>,
        services: Map<'a, Service<'a>>,
    },
    Create {
        signing_key: Cow<'a, str>,
        recovery_key: Cow<'a, str>,
        handle: Cow<'a, str>,
        service: Cow<'a, str>,
    },
    Tombstone,
}

/// What a signature is checked against.
pub(super) struct Signed {
    /// SHA-256 of the operation without its signature.
    pub(super) digest: [u8; 32],
    pub(super) sig: Vec<u8>,
}

/// An operation of a known form.
pub(super) struct Body<'a> {
    form: Form<'a>,
    sig: Cow<'a, str>,
    prev: Option<Cid>,
    /// How many entries it has, and those other than the signature in DAG-CBOR.
    entries: u64,
    unsigned: Vec<u8>,
}

impl<'a> Body<'a> {
    pub(super) fn parse(operation: &'a str) -> Result<Self, Fault> {
        let fields: Fields<'a> = serde_json::from_str(operation).map_err(Fault::Schema)?;
        let prev = fields.prev.ok_or(Fault::FieldMissing("prev"))?;
        let name = prev.as_ref().map(|Text(name)| &**name);
        let cid = name.map(str::parse::<Cid>).transpose().map_err(|_| Fault::PrevForm)?;
        let new = [
            fields.rotation_keys.is_some(),
            fields.also_known_as.is_some(),
            fields.verification_methods.is_some(),
            fields.services.is_some(),
        ];
        let old = [&fields.signing_key, &fields.recovery_key, &fields.handle, &fields.service];
        let (new, old) = (new.contains(&true), old.iter().any(|field| field.is_some()));
        let form = match &*fields.kind {
            "plc_operation" if !old => Form::Operation {
                rotation_keys: there(fields.rotation_keys, "rotationKeys")?,
                also_known_as: there(fields.also_known_as, "alsoKnownAs")?,
                verification_methods: there(fields.verification_methods, "verificationMethods")?,
                services: there(fields.services, "services")?,
            },
            "create" if !new => Form::Create {
                signing_key: there(fields.signing_key, "signingKey")?.0,
                recovery_key: there(fields.recovery_key, "recoveryKey")?.0,
                handle: there(fields.handle, "handle")?.0,
                service: there(fields.service, "service")?.0,
            },
            "plc_tombstone" if !new && !old => Form::Tombstone,
            "plc_operation" | "create" | "plc_tombstone" => return Err(Fault::FieldForeign),
            _ => return Err(Fault::Type),
        };
        match (&form, cid) {
            (Form::Create { .. }, Some(_)) => return Err(Fault::CreateFollows),
            (Form::Tombstone, None) => return Err(Fault::PrevForm),
            _ => {}
        }
        let (entries, unsigned) = encode(&form, name);
        Ok(Self { form, sig: fields.sig, prev: cid, entries, unsigned })
    }

    /// What an operation follows, read from what may be no operation at all.
    pub(super) fn prev_of(operation: &str) -> Option<Cid> {
        #[derive(serde::Deserialize)]
        struct Prev<'a> {
            #[serde(borrow)]
            prev: Option<Text<'a>>,
        }
        serde_json::from_str::<Prev<'_>>(operation).ok()?.prev?.0.parse().ok()
    }

    pub(super) fn prev(&self) -> Option<Cid> {
        self.prev
    }

    /// Its own name.
    pub(super) fn cid(&self) -> Cid {
        let mut bytes = Vec::with_capacity(self.unsigned.len() + self.sig.len() + 10);
        head(&mut bytes, MAP, self.entries);
        text(&mut bytes, "sig");
        text(&mut bytes, &self.sig);
        bytes.extend_from_slice(&self.unsigned);
        Cid::dag_cbor(&bytes)
    }

    pub(super) fn signed(&self) -> Result<Signed, Fault> {
        let mut start = Vec::new();
        head(&mut start, MAP, self.entries - 1);
        let digest = Sha256::new().chain_update(start).chain_update(&self.unsigned).finalize();
        let sig = BASE64URL_NOPAD.decode(self.sig.as_bytes()).map_err(|_| Fault::SigEncoding)?;
        Ok(Signed { digest: digest.into(), sig })
    }

    /// The keys that may sign what follows it, strongest first, and nothing where a key cannot be
    /// read; none at all for a tombstone.
    pub(super) fn keys(&self) -> Option<Vec<Option<PublicKey>>> {
        let read = |key: &str| key.parse().ok();
        match &self.form {
            Form::Operation { rotation_keys, .. } => {
                Some(rotation_keys.iter().map(|Text(key)| read(key)).collect())
            }
            Form::Create { signing_key, recovery_key, .. } => {
                Some(vec![read(recovery_key), read(signing_key)])
            }
            Form::Tombstone => None,
        }
    }

    /// The limits that it is over.
    pub(super) fn notes(&self) -> impl Iterator<Item = Note> + use<> {
        let bytes = self.unsigned.len() + self.sig.len() + 7;
        let mut notes = Vec::new();
        if bytes > Note::BYTES_MAX {
            notes.push(Note::Bytes { bytes });
        }
        if let Form::Operation { rotation_keys, also_known_as, verification_methods, services } =
            &self.form
        {
            note_keys(rotation_keys, &mut notes);
            let long = also_known_as.iter().any(|Text(text)| text.len() > Note::TEXT_BYTES_MAX);
            if also_known_as.len() > Note::ITEMS_MAX || long || any_twice(also_known_as) {
                notes.push(Note::AlsoKnownAs);
            }
            let long = services.0.iter().any(|(name, service)| {
                name.len() > Note::NAME_BYTES_MAX
                    || service.kind.len() > Note::TEXT_BYTES_MAX
                    || service.endpoint.len() > Note::ENDPOINT_BYTES_MAX
            });
            if services.0.len() > Note::ITEMS_MAX || long {
                notes.push(Note::Services);
            }
            let methods = &verification_methods.0;
            let long = methods.iter().any(|(name, Text(key))| {
                name.len() > Note::NAME_BYTES_MAX || key.len() > Note::TEXT_BYTES_MAX
            });
            if methods.len() > Note::ITEMS_MAX || long {
                notes.push(Note::VerificationMethods);
            }
            if methods.iter().any(|(_, Text(key))| !is_did_key(key)) {
                notes.push(Note::VerificationMethodForm);
            }
        }
        notes.into_iter()
    }
}

fn there<T>(field: Option<T>, name: &'static str) -> Result<T, Fault> {
    field.ok_or(Fault::FieldMissing(name))
}

fn note_keys(keys: &[Text<'_>], notes: &mut Vec<Note>) {
    let count = keys.len();
    if count > Note::ROTATION_KEYS_MAX {
        notes.push(Note::RotationKeys { count });
    }
    if count == 0 {
        notes.push(Note::NoRotationKeys);
    }
    if any_twice(keys) {
        notes.push(Note::RotationKeyTwice);
    }
    if keys.iter().any(|Text(key)| key.parse::<PublicKey>().is_err()) {
        notes.push(Note::RotationKeyForm);
    }
}

fn any_twice(texts: &[Text<'_>]) -> bool {
    let mut texts: Vec<&str> = texts.iter().map(|Text(text)| &**text).collect();
    texts.sort_unstable();
    texts.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

/// Whether text has the form of a key of any kind.
fn is_did_key(text: &str) -> bool {
    let digits = text.strip_prefix("did:key:z").unwrap_or_default();
    let digit =
        |byte: u8| byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l');
    !digits.is_empty() && digits.bytes().all(digit)
}

const TEXT: u8 = 3 << 5;
const LIST: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const NULL: u8 = 0xf6;

/// The number of an operation's entries, and all of them in order but for the signature.
fn encode(form: &Form<'_>, prev: Option<&str>) -> (u64, Vec<u8>) {
    let mut out = Vec::with_capacity(768);
    text(&mut out, "prev");
    match prev {
        Some(prev) => text(&mut out, prev),
        None => out.push(NULL),
    }
    text(&mut out, "type");
    let entries = match form {
        Form::Tombstone => {
            text(&mut out, "plc_tombstone");
            3
        }
        Form::Create { signing_key, recovery_key, handle, service } => {
            text(&mut out, "create");
            let rest = [
                ("handle", handle),
                ("service", service),
                ("signingKey", signing_key),
                ("recoveryKey", recovery_key),
            ];
            for (name, value) in rest {
                text(&mut out, name);
                text(&mut out, value);
            }
            7
        }
        Form::Operation { rotation_keys, also_known_as, verification_methods, services } => {
            text(&mut out, "plc_operation");
            text(&mut out, "services");
            head(&mut out, MAP, services.0.len() as u64);
            for (name, service) in &services.0 {
                text(&mut out, name);
                head(&mut out, MAP, 2);
                text(&mut out, "type");
                text(&mut out, &service.kind);
                text(&mut out, "endpoint");
                text(&mut out, &service.endpoint);
            }
            text(&mut out, "alsoKnownAs");
            list(&mut out, also_known_as);
            text(&mut out, "rotationKeys");
            list(&mut out, rotation_keys);
            text(&mut out, "verificationMethods");
            head(&mut out, MAP, verification_methods.0.len() as u64);
            for (name, Text(key)) in &verification_methods.0 {
                text(&mut out, name);
                text(&mut out, key);
            }
            7
        }
    };
    (entries, out)
}

fn list(out: &mut Vec<u8>, texts: &[Text<'_>]) {
    head(out, LIST, texts.len() as u64);
    for Text(item) in texts {
        text(out, item);
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// A CBOR head in its shortest form.
fn head(out: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let [.., a, b, c, d] = bytes;
    match value {
        0..=23 => out.push(kind | d),
        24..=0xff => out.extend([kind | 24, d]),
        0x100..=0xffff => out.extend([kind | 25, c, d]),
        0x1_0000..=0xffff_ffff => out.extend([kind | 26, a, b, c, d]),
        _ => {
            out.push(kind | 27);
            out.extend(bytes);
        }
    }
}
