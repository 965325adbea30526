//! Removal of nodes that no output needs.

use crate::graph::Graph;

/// Removes the nodes of which no output is used, and the names of outputs that nobody reads; returns whether
/// anything changed.
pub fn remove_dead(graph: &mut Graph) -> bool {
    let mut live = vec![false; graph.values.len()];
    graph.results().for_each(|o| live[o.0 as usize] = true);
    let mut keep = vec![false; graph.nodes.len()];
    let mut changed = false;
    for (i, node) in graph.nodes.iter_mut().enumerate().rev() {
        keep[i] = node.outputs.iter().flatten().any(|o| live[o.0 as usize]);
        if !keep[i] {
            changed = true;
            continue;
        }
        // The first output stays named: some operators count outputs, and shape inference starts there.
        while node.outputs.len() > 1
            && node.outputs.last().is_some_and(|o| o.is_none_or(|o| !live[o.0 as usize]))
        {
            if node.op == "Split" {
                break;
            }
            node.outputs.pop();
        }
        node.inputs.iter().flatten().for_each(|v| live[v.0 as usize] = true);
    }
    let mut keep = keep.into_iter();
    graph.nodes.retain(|_| keep.next().unwrap_or(true));
    // Constants that nobody reads give their memory back.
    for (value, live) in graph.values.iter_mut().zip(&live) {
        if !live {
            value.constant = None;
        }
    }
    changed
}
