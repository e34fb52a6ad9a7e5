//! Typed, read-only views of objects: structs that have the fields which Bramble reads, and no others.
//!
//! Field by field they are Kubernetes' own types (names, and what is optional); a missing field and `null` are both the
//! default, and what a view does not name is skipped. So nothing of a `view!` goes back to the store: send patches. A
//! `record!` can be written as well: its types are whole, or written from scratch by the one who has the say.
//!
//! All of a struct's reader is one loop over the keys, and each kind is parsed in one place, [`View::parse`]: generated
//! readers of whole Kubernetes types were a tenth of both programs.

mod read;
mod scalar;

/// Structs with a reader: `Name { field: Type = "jsonKey", ... }`.
macro_rules! view {
    ($( $name:ident { $( $field:ident: $type:ty = $key:literal, )* } )*) => {$(
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $( pub $field: $type, )*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> serde::de::Visitor<'de> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(stringify!($name))
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut view = $name::default();
                        while let Some(crate::view::read::Key(key)) = map.next_key()? {
                            match &*key {
                                $( $key => crate::view::read::into(&mut map, &mut view.$field)?, )*
                                _ => crate::view::read::skip(&mut map)?,
                            }
                        }
                        Ok(view)
                    }
                }
                from.deserialize_map(Reader)
            }
        }
    )*};
}

/// The same, and a writer that leaves out what is absent.
macro_rules! record {
    ($( $name:ident { $( $field:ident: $type:ty = $key:literal, )* } )*) => {
        view! { $( $name { $( $field: $type = $key, )* } )* }
        $(
            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    let mut map = to.serialize_map(None)?;
                    $( crate::view::read::entry(&mut map, $key, &self.$field)?; )*
                    serde::ser::SerializeMap::end(map)
                }
            }

            impl crate::view::read::Present for $name {}
        )*
    };
}

pub mod apps;
pub mod batch;
pub mod core;
pub mod discovery;
pub mod meta;
pub mod networking;
pub mod storage;

pub use scalar::{ByteString, IntOrString, Quantity, Time};

/// A kind that can be parsed out of an object's bytes.
pub trait View: Sized {
    fn parse(json: &[u8]) -> Result<Self, serde_json::Error>;
}

/// One compiled reader a kind, here, instead of one in each crate that asks for it.
macro_rules! kinds {
    ($( $kind:ty, )*) => {$(
        impl View for $kind {
            fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(json)
            }
        }
    )*};
}

/// What is read as it is.
impl View for serde_json::Value {
    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

kinds! {
    apps::DaemonSet,
    apps::Deployment,
    apps::ReplicaSet,
    batch::Job,
    core::ConfigMap,
    core::Endpoints,
    core::Event,
    core::Namespace,
    core::Node,
    core::PersistentVolume,
    core::PersistentVolumeClaim,
    core::Pod,
    core::Secret,
    core::Service,
    discovery::EndpointSlice,
    networking::NetworkPolicy,
    storage::StorageClass,
}
