//! What is written wrongly is refused, with a message at the place that is wrong.

/// Here and not among the tests of `larder`: trybuild compiles all that the crate of its test and that
/// crate's tests depend on once more, and those of `larder` depend on its rivals.
#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
