//! `actors tree`: the supervision tree as it is now.

use super::args::Format;
use super::client::Client;
use super::error::CliError;
use super::output::{age, machine, row, table};
use crate::actors::api::admin_protocol::AdminRequest;
use crate::actors::api::control::TreeNode;
use crate::settings::Settings;

/// Prints the tree.
pub async fn tree(settings: &Settings, format: Format) -> Result<(), CliError> {
    let tree: TreeNode = Client::new(settings).ask(&AdminRequest::ActorsTree).await?;
    match machine(&tree, format)? {
        Some(text) => print!("{text}"),
        None => print!("{}", render(&tree)),
    }
    Ok(())
}

fn render(tree: &TreeNode) -> String {
    let mut rows = vec![row(["Actor", "State", "For", "Restarts", "Handled", "Last exit"])];
    draw(tree, "", "", &mut rows);
    table(&rows)
}

fn draw(node: &TreeNode, first: &str, rest: &str, rows: &mut Vec<Vec<String>>) {
    let busy = if node.busy { " (busy)" } else { "" };
    rows.push(vec![
        format!("{first}{}", node.id),
        format!("{}{busy}", node.state),
        age(node.in_state_ms / 1000),
        node.restarts.to_string(),
        node.handled.to_string(),
        if node.last_exit.is_empty() { "-".into() } else { node.last_exit.clone() },
    ]);
    for (number, child) in node.children.iter().enumerate() {
        let last = number + 1 == node.children.len();
        let (branch, below) = if last { ("└ ", "  ") } else { ("├ ", "│ ") };
        draw(child, &format!("{rest}{branch}"), &format!("{rest}{below}"), rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn() {
        let leaf =
            |id: &str| TreeNode { id: id.into(), state: "running".into(), in_state_ms: 65_000, ..TreeNode::default() };
        let mut api = leaf("api");
        api.children =
            vec![leaf("status_http"), TreeNode { restarts: 2, last_exit: "panicked".into(), ..leaf("journal") }];
        let mut root = leaf("leaderl");
        root.children = vec![api, leaf("last")];
        let expected = "\
Actor            State    For    Restarts  Handled  Last exit
leaderl          running  1m 5s  0         0        -
├ api            running  1m 5s  0         0        -
│ ├ status_http  running  1m 5s  0         0        -
│ └ journal      running  1m 5s  2         0        panicked
└ last           running  1m 5s  0         0        -
";
        assert_eq!(render(&root), expected);
    }
}
