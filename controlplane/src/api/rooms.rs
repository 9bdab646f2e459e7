//! The meeting point of the page: who is in a room, and which tracks each of them sends.
//!
//! It is in memory only and small; a member is gone some seconds after it was announced last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::error::{ApiError, ErrorKind};
use super::{AppAccess, SharedService};

/// All rooms of all apps.
#[derive(Debug)]
pub struct Rooms {
    began: Instant,
    rooms: Mutex<HashMap<RoomKey, BTreeMap<String, Member>>>,
}

impl Default for Rooms {
    /// Nobody is known yet.
    fn default() -> Self {
        Self {
            began: Instant::now(),
            rooms: Mutex::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RoomKey {
    app: String,
    room: String,
}

#[derive(Clone, Debug)]
struct Member {
    presence: Presence,
    expires: Instant,
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Presence {
    session_id: String,
    #[serde(default)]
    tracks: Vec<serde_json::Value>,
    #[serde(default)]
    name: String,
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MemberView {
    member: String,
    #[serde(flatten)]
    presence: Presence,
}

/// The whole list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MembersView {
    members: Vec<MemberView>,
    /// Whether who is not in the list has gone. After a restart of the control plane, members whose
    /// calls go on have not all been announced again.
    settled: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RoomPath {
    room: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MemberPath {
    room: String,
    member: String,
}

/// `GET /demo/apps/{app_id}/rooms/{room}`.
pub(crate) async fn members(
    State(service): State<SharedService>,
    AppAccess { app }: AppAccess,
    Path(RoomPath { room }): Path<RoomPath>,
) -> Result<Json<MembersView>, ApiError> {
    let key = RoomKey {
        app,
        room: checked_name("room", room)?,
    };
    let now = Instant::now();
    Ok(Json(MembersView {
        members: service.rooms.members(&key, now),
        settled: service.rooms.is_settled(now),
    }))
}

/// `PUT /demo/apps/{app_id}/rooms/{room}/members/{member}`.
pub(crate) async fn announce(
    State(service): State<SharedService>,
    AppAccess { app }: AppAccess,
    Path(MemberPath { room, member }): Path<MemberPath>,
    Body(presence): Body<Presence>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let key = RoomKey {
        app,
        room: checked_name("room", room)?,
    };
    let member = checked_name("member", member)?;
    let size = serde_json::to_vec(&presence).map_or(usize::MAX, |json| json.len());
    if size > PRESENCE_BYTES_MAX {
        let description = format!("A member has at most {PRESENCE_BYTES_MAX} bytes");
        return Err(ApiError::new(ErrorKind::PayloadTooLarge, description));
    }
    service
        .rooms
        .announce(key, member, presence, Instant::now())?;
    Ok(Json(serde_json::json!({})))
}

/// `DELETE /demo/apps/{app_id}/rooms/{room}/members/{member}`.
pub(crate) async fn withdraw(
    State(service): State<SharedService>,
    AppAccess { app }: AppAccess,
    Path(MemberPath { room, member }): Path<MemberPath>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let key = RoomKey {
        app,
        room: checked_name("room", room)?,
    };
    service.rooms.withdraw(&key, &member);
    Ok(Json(serde_json::json!({})))
}

impl Rooms {
    fn members(&self, key: &RoomKey, now: Instant) -> Vec<MemberView> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms
            .get(key)
            .into_iter()
            .flatten()
            .filter(|(_, member)| member.expires > now)
            .map(|(name, member)| MemberView {
                member: name.clone(),
                presence: member.presence.clone(),
            })
            .collect()
    }

    /// Whether everybody who is still there has had the time to be announced.
    fn is_settled(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LIFETIME
    }

    fn announce(
        &self,
        key: RoomKey,
        name: String,
        presence: Presence,
        now: Instant,
    ) -> Result<(), ApiError> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if rooms.len() >= ROOMS_MAX && !rooms.contains_key(&key) {
            rooms.retain(|_, members| {
                members.retain(|_, member| member.expires > now);
                !members.is_empty()
            });
            if rooms.len() >= ROOMS_MAX {
                return Err(ApiError::new(
                    ErrorKind::Capacity,
                    "There are too many rooms",
                ));
            }
        }
        let members = rooms.entry(key).or_default();
        members.retain(|_, member| member.expires > now);
        if members.len() >= MEMBERS_MAX && !members.contains_key(&name) {
            return Err(ApiError::new(ErrorKind::Capacity, "The room is full"));
        }
        members.insert(
            name,
            Member {
                presence,
                expires: now + LIFETIME,
            },
        );
        Ok(())
    }

    fn withdraw(&self, key: &RoomKey, name: &str) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(members) = rooms.get_mut(key) {
            members.remove(name);
            if members.is_empty() {
                rooms.remove(key);
            }
        }
    }
}

fn checked_name(field: &str, name: String) -> Result<String, ApiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(ApiError::invalid(format!(
            "{field}: 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`"
        )));
    }
    Ok(name)
}

const LIFETIME: Duration = Duration::from_secs(10);
const NAME_BYTES_MAX: usize = 64;
const PRESENCE_BYTES_MAX: usize = 16 * 1024;
const MEMBERS_MAX: usize = 64;
const ROOMS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(room: &str) -> RoomKey {
        RoomKey {
            app: "app".to_owned(),
            room: room.to_owned(),
        }
    }

    #[test]
    fn a_member_is_gone_ten_seconds_after_it_was_announced_last() {
        let (rooms, start) = (Rooms::default(), Instant::now());
        rooms
            .announce(key("r"), "ann".to_owned(), Presence::default(), start)
            .unwrap();
        assert_eq!(
            rooms
                .members(&key("r"), start + Duration::from_secs(9))
                .len(),
            1
        );
        assert_eq!(
            rooms
                .members(&key("r"), start + Duration::from_secs(10))
                .len(),
            0
        );
    }

    #[test]
    fn nobody_counts_as_gone_before_all_could_be_announced_again() {
        let rooms = Rooms::default();
        assert!(!rooms.is_settled(rooms.began + Duration::from_secs(9)));
        assert!(rooms.is_settled(rooms.began + Duration::from_secs(10)));
    }

    #[test]
    fn a_full_room_takes_nobody_else_until_someone_leaves() {
        let (rooms, now) = (Rooms::default(), Instant::now());
        for n in 0..MEMBERS_MAX {
            rooms
                .announce(key("r"), n.to_string(), Presence::default(), now)
                .unwrap();
        }
        let full = rooms.announce(key("r"), "late".to_owned(), Presence::default(), now);
        assert_eq!(full.unwrap_err().kind, ErrorKind::Capacity);
        assert!(
            rooms
                .announce(key("r"), "0".to_owned(), Presence::default(), now)
                .is_ok()
        );
        rooms.withdraw(&key("r"), "0");
        assert!(
            rooms
                .announce(key("r"), "late".to_owned(), Presence::default(), now)
                .is_ok()
        );
    }

    #[test]
    fn empty_rooms_make_way_for_others() {
        let (rooms, start) = (Rooms::default(), Instant::now());
        for n in 0..ROOMS_MAX {
            rooms
                .announce(
                    key(&n.to_string()),
                    "a".to_owned(),
                    Presence::default(),
                    start,
                )
                .unwrap();
        }
        let more = |now| rooms.announce(key("more"), "a".to_owned(), Presence::default(), now);
        assert_eq!(more(start).unwrap_err().kind, ErrorKind::Capacity);
        assert!(more(start + LIFETIME).is_ok());
    }

    #[test]
    fn names_are_short_and_plain() {
        for name in ["", "a/b", "..", "ä", &"x".repeat(65)] {
            assert!(checked_name("room", name.to_owned()).is_err(), "{name:?}");
        }
        assert!(checked_name("room", "x".repeat(64)).is_ok());
    }
}
