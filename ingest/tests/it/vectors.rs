//! Signature headers with the result that each must give.

use self::Expected::{Accept, Reject};
use ingest::signature::Refusal;

/// The time at which every header is checked, in seconds since 1970.
pub(crate) const NOW: i64 = 1_760_000_000;
/// The secret that every header is checked with.
pub(crate) const SECRET: &str = "whsec_test_secret";
/// Values of `STRIPE_WEBHOOK_SECRETS` that must be refused.
pub(crate) const REFUSED_SECRETS: &[&str] = &["", "  "];

pub(crate) enum Expected {
    Accept,
    Reject(Refusal),
}

pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) header: &'static str,
    /// Index in [`BODIES`].
    pub(crate) body: usize,
    pub(crate) expected: Expected,
}

const fn vector(
    name: &'static str,
    header: &'static str,
    body: usize,
    expected: Expected,
) -> Vector {
    Vector {
        name,
        header,
        body,
        expected,
    }
}

pub(crate) const BODIES: &[&[u8]] = &[
    b"{\"id\":\"evt_1Vector\",\"object\":\"event\",\"account\":\"acct_1Host\",\"api_version\":\"2025-03-31.basil\",\"created\":1759999990,\"livemode\":false,\"type\":\"invoice.paid\",\"data\":{\"object\":{\"id\":\"in_1Vector\",\"object\":\"invoice\",\"status\":\"paid\",\"total\":12000}}}",
    b"{\"id\":\"evt_1Vector\",\"object\":\"event\",\"account\":\"acct_1Host\",\"api_version\":\"2025-03-31.basil\",\"created\":1759999990,\"livemode\":false,\"type\":\"invoice.paid\",\"data\":{\"object\":{\"id\":\"in_1Vector\",\"object\":\"invoice\",\"status\":\"paid\",\"total\":12001}}}",
    b"{\"id\":\"evt_1Vector\",\"object\":\"event\",\"account\":\"acct_1Host\",\"api_version\":\"2025-03-31.basil\",\"created\":1759999990,\"livemode\":false,\"type\":\"invoice.paid\",\"data\":{\"object\":{\"id\":\"in_1Vector\",\"object\":\"invoice\",\"status\":\"paid\",\"total\":12000}}}\n",
    b"{\"id\": \"evt_1Vector\", \"object\": \"event\", \"account\": \"acct_1Host\", \"api_version\": \"2025-03-31.basil\", \"created\": 1759999990, \"livemode\": false, \"type\": \"invoice.paid\", \"data\": {\"object\": {\"id\": \"in_1Vector\", \"object\": \"invoice\", \"status\": \"paid\", \"total\": 12000}}}",
    b"{\"id\":\"evt_1Vector\",\"object\":\"event\",\"account\":\"acct_1Host\",\"api_version\":\"2025-03-31.basil\",\"created\":1759999990,\"livemode\":false,\"type\":\"invoice.paid\",\"data\":{\"object\":{\"id\":\"in_1V\xc3\xa9ctor\xf0\x9f\x98\x80\",\"object\":\"invoice\",\"status\":\"paid\",\"total\":12000}}}",
    b"{\"id\":\"evt_1Vector\",\"object\":\"event\",\"account\":\"acct_1Host\",\"api_version\":\"2025-03-31.basil\",\"created\":1759999990,\"livemode\":false,\"type\":\"invoice.paid\",\"data\":{\"object\":{\"id\":\"in_1\xff\xfe\",\"object\":\"invoice\",\"status\":\"paid\",\"total\":12000}}}",
    b"",
    b"hello",
    b"{\"id\": \"evt_1Thin\", \"object\": \"v2.core.event\", \"type\": \"v2.core.account[requirements].updated\", \"livemode\": false, \"created\": \"2025-10-09T08:53:20.000Z\", \"context\": \"acct_1Host\"}",
];

#[rustfmt::skip]
pub(crate) const VECTORS: &[Vector] = &[
    vector("plain", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Accept),
    vector("v0 behind it", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305,v0=0000000000000000000000000000000000000000000000000000000000000000", 0, Accept),
    vector("v0 before it", "t=1760000000,v0=0000000000000000000000000000000000000000000000000000000000000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Accept),
    vector("v1 before t", "v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305,t=1760000000", 0, Accept),
    vector("two secrets, ours first", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305,v1=4e0f5314e9ee66773a1b35ee45d04fcfc231b7d5a24ad0e27bdb3871cadb7d35", 0, Accept),
    vector("two secrets, ours last", "t=1760000000,v1=4e0f5314e9ee66773a1b35ee45d04fcfc231b7d5a24ad0e27bdb3871cadb7d35,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Accept),
    vector("only v0, though it would fit", "t=1760000000,v0=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::NoSignature)),
    vector("no secret at all", "t=1760000000,v1=0000000000000000000000000000000000000000000000000000000000000000", 0, Reject(Refusal::Mismatch)),
    vector("another secret", "t=1760000000,v1=4e0f5314e9ee66773a1b35ee45d04fcfc231b7d5a24ad0e27bdb3871cadb7d35", 0, Reject(Refusal::Mismatch)),
    vector("changed body", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 1, Reject(Refusal::Mismatch)),
    vector("line break behind the body", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 2, Reject(Refusal::Mismatch)),
    vector("body written anew", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 3, Reject(Refusal::Mismatch)),
    vector("299 s old", "t=1759999701,v1=980155c573f3e850a4e58e126d2364082b64b61867551d1f337577549ee2e851", 0, Accept),
    vector("300 s old", "t=1759999700,v1=25ef0a96f89719b9e4c9de6b0d00dda5f77e2eb67bd696b3ecb9853d6c71cdec", 0, Accept),
    vector("301 s old", "t=1759999699,v1=597de6b62b7286001232b2c3311eb24486edcb4b1ba87fe5d47a2007583cb62b", 0, Reject(Refusal::Stale)),
    vector("a day old", "t=1759913600,v1=e0e5653e84f6aff3cbaa87534f0070713788fadf2e363d5615facecccd785b22", 0, Reject(Refusal::Stale)),
    vector("1 s ahead", "t=1760000001,v1=fc13fd7bd3bca7344d0cd9b0a4a211314551784781f06007714c7954c6aa68de", 0, Accept),
    vector("300 s ahead", "t=1760000300,v1=f6d45b3be645df014caf908297e4c72c240a86d7664280c8c3c1227bd6e98a80", 0, Accept),
    vector("301 s ahead", "t=1760000301,v1=527206cddbfbabc0ad182763c47a1049e3d3173f6919b25d5e7191cd88e32f84", 0, Reject(Refusal::Stale)),
    vector("a year ahead", "t=1791536000,v1=98e03b004a3bff79ec8a2872f2df4124a2b0b8913052c383827a77940b5a20f2", 0, Reject(Refusal::Stale)),
    vector("old signature under a fresh time", "t=1760000000,v1=e0e5653e84f6aff3cbaa87534f0070713788fadf2e363d5615facecccd785b22", 0, Reject(Refusal::Mismatch)),
    vector("milliseconds", "t=1760000000000,v1=989a8f269d2ba1328be8bf29fa4125f1ef05e1a7832ced2f40bbb4ba26a8eba8", 0, Reject(Refusal::Stale)),
    vector("empty header", "", 0, Reject(Refusal::BadTimestamp)),
    vector("no t", "v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("no v1", "t=1760000000", 0, Reject(Refusal::NoSignature)),
    vector("empty v1", "t=1760000000,v1=", 0, Reject(Refusal::Mismatch)),
    vector("empty v1, then a good one", "t=1760000000,v1=,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Accept),
    vector("good v1, then an empty one", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305,v1=", 0, Accept),
    vector("space behind the comma", "t=1760000000, v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::NoSignature)),
    vector("space before the comma", "t=1760000000 ,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("space before everything", " t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("space behind everything", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305 ", 0, Reject(Refusal::Mismatch)),
    vector("line break behind everything", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305\r\n", 0, Reject(Refusal::Mismatch)),
    vector("spaces around the equals signs", "t = 1760000000,v1 = 639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("space before the number", "t= 1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("uppercase digits", "t=1760000000,v1=639C89C52EDE8BCE8D53B1E9EDD4EA31991B5626ED4D218D9769E46788226305", 0, Reject(Refusal::Mismatch)),
    vector("uppercase scheme", "t=1760000000,V1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::NoSignature)),
    vector("0x before the digits", "t=1760000000,v1=0x639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::Mismatch)),
    vector("one digit less", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e4678822630", 0, Reject(Refusal::Mismatch)),
    vector("one byte more", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e4678822630500", 0, Reject(Refusal::Mismatch)),
    vector("base64", "t=1760000000,v1=Y5yJxS7ei86NU7Hp7dTqMZkbVibtTSGNl2nkZ4giYwU=", 0, Reject(Refusal::Mismatch)),
    vector("equals sign behind the digits", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305=", 0, Reject(Refusal::Mismatch)),
    vector("two t, the good one first", "t=1760000000,t=1759913600,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("two t, the good one last", "t=1759913600,t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("two t, the old one signed", "t=1759913600,t=1760000000,v1=e0e5653e84f6aff3cbaa87534f0070713788fadf2e363d5615facecccd785b22", 0, Reject(Refusal::BadTimestamp)),
    vector("the same t twice", "t=1760000000,t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("letters behind the number", "t=1760000000abc,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("fraction", "t=1760000000.5,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("leading zero, signed without", "t=01760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("leading zero, signed with", "t=01760000000,v1=75b5a450c740d615645a966afad81c26393364db6159c11020aa9dfcbc4f7a2b", 0, Reject(Refusal::BadTimestamp)),
    vector("underscores", "t=1_760_000_000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("plus sign", "t=+1760000000,v1=80c0d32ebc6f98fc5bdd6e5f80862da785359b98c6d14a5d7d285b440b3d9cdf", 0, Reject(Refusal::BadTimestamp)),
    vector("empty t", "t=,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Reject(Refusal::BadTimestamp)),
    vector("empty t, signed so", "t=,v1=c9d9fc3f3b9de686af21d9c160b2811648b211ad28467f7839e5e2648e29a4e4", 0, Reject(Refusal::BadTimestamp)),
    vector("negative, signed so", "t=-1,v1=68fca3ee72eade1e060c88996a4848dfd00056453703de66896fc5d3a9779119", 0, Reject(Refusal::BadTimestamp)),
    vector("no number, signed as NaN", "t=abc,v1=8eb0e51080c89397c13ca4a142a271afd1658c928c63162eb14786696289a156", 0, Reject(Refusal::BadTimestamp)),
    vector("comma at the end", "t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305,", 0, Accept),
    vector("comma at the start", ",t=1760000000,v1=639c89c52ede8bce8d53b1e9edd4ea31991b5626ed4d218d9769e46788226305", 0, Accept),
    vector("secret without its whsec_", "t=1760000000,v1=3e388d049f21c6076deef53b56a02f966e9696548f735a4cc8eb1f921899c269", 0, Reject(Refusal::Mismatch)),
    vector("letters beyond ASCII in the body", "t=1760000000,v1=1ffd7ffbcabd40a11c62547ada8fe9a82d0a30ecfecfb5cfded753721e0c8f3a", 4, Accept),
    vector("a body that is not UTF-8", "t=1760000000,v1=1bd49ffe516a2397de002fb9d6ff4e984779ee701ebfa684c66a717d01ed418b", 5, Accept),
    vector("an empty body", "t=1760000000,v1=a64eb4636d8d793ee97436a151a536e2ea4bab6c36ea52be535a827f47e0aaa5", 6, Accept),
    vector("a body that is not JSON", "t=1760000000,v1=32761f1235c12eeba374a3b645e6d1fbdcba257903e4a485cd1e76fede0093bc", 7, Accept),
    vector("a thin event", "t=1760000000,v1=4b38145322f4f0ca8486b12ee825fcf18c8a759dc59ba098b154e44cb315eeb6", 8, Accept),
];
