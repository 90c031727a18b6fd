//! Documented: answers word for word as vendors' documentation shows them. The doubles say them, and the examples are read from
//! them.

/// fastly.com/documentation: "Purge a URL".
pub(crate) const FASTLY_URL: &str = r#"{"status":"ok","id":"108-1391560174-974124"}"#;
/// "Purge everything from a service".
pub(crate) const FASTLY_ALL: &str = r#"{"status":"ok"}"#;
/// Without a good key.
pub(crate) const FASTLY_NO_KEY: &str = r#"{"msg":"Provided credentials are missing or invalid"}"#;
/// Of a service that is not there.
pub(crate) const FASTLY_NO_SERVICE: &str =
    r#"{"msg":"Record not found","detail":"Cannot load service"}"#;

/// developers.cloudflare.com/api: "Purge Cached Content".
pub(crate) const CLOUDFLARE_DONE: &str = r#"{"errors":[],"messages":[],"success":true,"result":{"id":"023e105f4ecef8ad9ca31a8372d0c353"}}"#;
/// Without a good token.
pub(crate) const CLOUDFLARE_NO_TOKEN: &str =
    r#"{"success":false,"errors":[{"code":10000,"message":"Authentication error"}]}"#;

/// docs.aws.amazon.com: "CreateInvalidation", its answer.
pub(crate) const CLOUDFRONT_BEGUN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Invalidation><CreateTime>timestamp</CreateTime><Id>IDFDVBD632BHDS5</Id>\
    <InvalidationBatch><CallerReference>string</CallerReference></InvalidationBatch><Status>InProgress</Status></Invalidation>";

/// techdocs.akamai.com/purge-cache: "Delete by cache tag", its answer.
pub(crate) const AKAMAI_DONE: &str = r#"{"httpStatus":201,"detail":"Request accepted","supportId":"17PY1492793544958045-219026624",
        "purgeId":"e535071c-26b2-11e7-94d7-276f2f54d938","estimatedSeconds":5}"#;
/// "Rate limit response examples".
pub(crate) const AKAMAI_TOO_MANY: &str = r#"{"supportId":"17PY1552425241133633-211776704","title":"Rate Limit exceeded","httpStatus":429,
        "describedBy":"https://developer.akamai.com/api/core_features/fast_purge/v3.html#httpcodes","rateLimit":100,
        "rateLimitCurrentRequestSize":1,"rateLimitRemaining":0}"#;
/// Its fields.
pub(crate) const AKAMAI_TOO_MANY_FIELDS: [(&str, &str); 6] = [
    ("x-ratelimit-remaining", "0"),
    ("x-ratelimit-limit-per-second", "50.00"),
    ("x-ratelimit-limit", "100"),
    ("x-ratelimit-remaining-objects", "9904"),
    ("x-ratelimit-limit-per-second-objects", "200.00"),
    ("x-ratelimit-limit-objects", "10000"),
];

/// docs.cloud.google.com: an operation that goes on.
pub(crate) const GOOGLE_RUNNING: &str =
    r#"{"kind":"compute#operation","name":"operation-1","status":"RUNNING"}"#;
