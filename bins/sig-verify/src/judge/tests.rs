use crate::costs;

#[test]
fn two_implementations_that_disagree_stop_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut judge = costs::judge(folder.path(), false);
    assert!(judge.check().is_ok());
    judge.proof.disagree();
    let said = judge.check().unwrap_err().to_string();
    assert!(said.contains("disagree") && said.contains("nothing more is passed on"), "{said}");
    // And it stays so, whatever comes.
    assert!(judge.check().is_err());
}
