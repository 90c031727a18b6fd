//! Dates: what is read is written so that it is read again.
#![no_main]

use larder_policy::date;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(instant) = date::parse(data) {
        let written = date::format(instant);
        assert_eq!(date::parse(written.as_bytes()), Some(instant), "{written:?}");
    }
});
