//! Rule chains that enter each other: saved, deleted, exported and imported.

use super::*;
use crate::app::ChainExport;

async fn chain(world: &World, name: &str) -> Uuid {
    let draft = RuleChainDraft { name: name.to_owned(), ..RuleChainDraft::default() };
    world.app.save_chain(&world.admin, draft).await.unwrap().value.id
}

fn entering(id: Uuid) -> Value {
    json!({"firstNodeIndex": 0, "connections": [], "nodes": [{
        "type": "org.thingsboard.rule.engine.flow.TbRuleChainInputNode",
        "name": "in", "configuration": {"ruleChainId": id}}]})
}

#[tokio::test]
async fn a_chain_enters_only_what_is_there() {
    let world = world().await;
    let (inner, outer) = (chain(&world, "inner").await, chain(&world, "outer").await);
    let save = async |id: Uuid, metadata: Value| world.app.save_chain_metadata(&world.admin, id, None, metadata).await;
    let nowhere = save(outer, entering(Uuid::nil())).await.unwrap_err().to_string();
    assert!(nowhere.contains("nodes[0].configuration.ruleChainId"), "{nowhere}");
    let foreign = world.app.chains(&world.other, &PageLink::new(10, 0).unwrap()).await.unwrap().data[0].id;
    save(outer, entering(foreign)).await.unwrap_err();
    save(outer, entering(inner)).await.unwrap();
    let refused = world.app.delete_chain(&world.admin, inner).await.unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("\"outer\"")), "{refused}");
    // One that enters itself is nobody else's.
    let own = chain(&world, "own").await;
    save(own, entering(own)).await.unwrap();
    world.app.delete_chain(&world.admin, own).await.unwrap();
    world.app.delete_chain(&world.admin, outer).await.unwrap();
    world.app.delete_chain(&world.admin, inner).await.unwrap();
}

#[tokio::test]
async fn an_export_is_imported_by_another_tenant() {
    let world = world().await;
    let (inner, outer) = (chain(&world, "inner").await, chain(&world, "outer").await);
    world.app.save_chain_metadata(&world.admin, outer, None, entering(inner)).await.unwrap();
    let exported = world.app.export_chains(&world.admin, 100).await.unwrap();
    let names: Vec<&str> = exported.iter().map(|(chain, _)| chain.name.as_str()).collect();
    assert_eq!(names, ["Root Rule Chain", "inner", "outer"]);
    let (chains, metadata) = exported
        .into_iter()
        .map(|(chain, metadata)| ((Some(chain.id), RuleChainDraft { name: chain.name, ..RuleChainDraft::default() }), metadata))
        .unzip();
    let export = ChainExport { chains, metadata };

    let mut broken = export.clone();
    broken.metadata[2]["nodes"][0]["type"] = json!("Mystery");
    let error = world.app.import_chains(&world.other, broken, false).await.unwrap_err().to_string();
    assert!(error.contains("\"outer\"") && error.contains("nodes[0].type"), "{error}");
    let count = async || world.app.chains(&world.other, &PageLink::new(10, 0).unwrap()).await.unwrap().total_elements;
    assert_eq!(count().await, 1, "all or none");

    let imported = world.app.import_chains(&world.other, export.clone(), false).await.unwrap().value;
    assert_eq!((imported.len(), count().await), (3, 4));
    assert!(imported.iter().all(|one| !one.updated && !one.chain.root));
    let metadata = world.app.chain_metadata(&world.other, imported[2].chain.id).await.unwrap();
    assert_eq!(metadata["nodes"][0]["configuration"]["ruleChainId"], json!(imported[1].chain.id), "it enters the new one");

    let again = world.app.import_chains(&world.other, export, true).await.unwrap().value;
    assert_eq!(count().await, 4);
    assert!(again[1].updated && again[1].chain.id == imported[1].chain.id);
    let root = world.app.chain(&world.other, again[0].chain.id).await.unwrap();
    assert!(root.root, "it stays what it is");
}
