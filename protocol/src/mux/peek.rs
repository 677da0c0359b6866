//! What a frame is asked before it is read: who it is for, and by which name its sender knows it.
//!
//! It is asked of frames that turn out to be wrong, too, so a member of another type, or one that stands twice, is no error here: the last text counts,
//! as it does for most who read JSON.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The members that every channel has in common.
#[derive(Debug, Default)]
pub(super) struct Peek<'a> {
    pub channel: Option<Cow<'a, str>>,
    pub id: Option<Cow<'a, str>>,
    pub cmd: Option<Cow<'a, str>>,
    /// `type`
    pub kind: Option<Cow<'a, str>>,
    pub session_id: Option<Cow<'a, str>>,
    pub runner_id: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for Peek<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Peek<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Peek<'de>, A::Error> {
        let mut peek = Peek::default();
        while let Some(Text(name)) = members.next_key::<Text<'de>>()? {
            let member = match name.as_deref() {
                Some("channel") => &mut peek.channel,
                Some("id") => &mut peek.id,
                Some("cmd") => &mut peek.cmd,
                Some("type") => &mut peek.kind,
                Some("session_id") => &mut peek.session_id,
                Some("runner_id") => &mut peek.runner_id,
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *member = members.next_value::<Text<'de>>()?.0;
        }
        Ok(peek)
    }
}

/// A text, or something else.
struct Text<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Some(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Some(Cow::Owned(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Text<'de>, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}
