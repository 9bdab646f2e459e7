//! Any bytes as a record of the channel between the planes: decoded without a panic, and what is
//! decoded can be written, and reads the same then.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::limits::RECORD_BYTES_MAX;
use shared::wire::{
    decode_message, decode_request, decode_request_id, encode_message, encode_request,
};

fuzz_target!(|record: &[u8]| {
    let mut out = vec![0; RECORD_BYTES_MAX];
    if let Ok(request) = decode_request(record) {
        assert!(decode_request_id(record).is_some());
        if let Ok(length) = encode_request(&request, &mut out) {
            assert_eq!(decode_request(&out[..length]), Ok(request));
        }
    }
    if let Ok(message) = decode_message(record)
        && let Ok(length) = encode_message(&message, &mut out)
    {
        assert_eq!(decode_message(&out[..length]), Ok(message));
    }
});
