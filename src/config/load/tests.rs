use super::*;

#[test]
fn smoke() {
    let l = crate::config::defaults().unwrap();
    println!("{:#?}", l.config);
    println!("{}", serde_json::to_string_pretty(&l.config).unwrap());
}
