//! Bytes as one piece: serde's own way would visit them one by one. The bytes in the frame are the same.
//! For serde's `with`.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;

pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
    deserializer.deserialize_bytes(Whole)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct OneByOne {
        before: u8,
        json: Vec<u8>,
        after: u8,
    }

    #[derive(Serialize, Deserialize)]
    struct OnePiece {
        before: u8,
        #[serde(with = "super")]
        json: Vec<u8>,
        after: u8,
    }

    #[test]
    fn both_ways_are_the_same_bytes() {
        for length in [0, 1, 127, 128, 300, 20_000] {
            let json: Vec<u8> = (0..length).map(|number| number as u8).collect();
            let one_by_one = postcard::to_stdvec(&OneByOne { before: 1, json: json.clone(), after: 2 }).unwrap();
            let one_piece = postcard::to_stdvec(&OnePiece { before: 1, json: json.clone(), after: 2 }).unwrap();
            assert_eq!(one_by_one, one_piece);
            let read: OnePiece = postcard::from_bytes(&one_by_one).unwrap();
            assert!(read.json == json && read.after == 2);
        }
    }
}
