//! Any bytes as a STUN message. Half of them get a right length, MESSAGE-INTEGRITY and FINGERPRINT,
//! since nothing else would get through to the answers; the others must not be authenticated.
#![no_main]

use dataplane_core::stun::{BindingRequest, IcePassword, RESPONSE_BYTES_MAX};
use jackfield_fuzz::sign;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (signed, bytes) = input;
    let mut datagram = bytes.to_vec();
    if signed {
        sign(&mut datagram, "a:b", PASSWORD);
    }
    let Ok(request) = BindingRequest::parse(&datagram) else {
        return;
    };
    assert!(request.local_ufrag().len() + request.remote_ufrag().len() < datagram.len());
    let password = IcePassword::new(PASSWORD);
    let Ok(request) = request.authenticate(&password) else {
        return;
    };
    assert!(signed, "an HMAC was forged");
    let mut out = [0; RESPONSE_BYTES_MAX];
    let mapped = ([192, 0, 2, 1], 1).into();
    assert!(request.write_success(mapped, &password, &mut out).is_some());
    assert!(request.write_role_conflict(&password, &mut out).is_some());
    assert!(
        request
            .write_unknown_attributes(&password, &mut out)
            .is_some()
    );
});

const PASSWORD: &str = "a password of 22 bytes";
