// ComfyUI's graph, as its events name what is in it.

import { app } from '../../scripts/app.js'

/** The node with an id of a run: "4", or "7:4" for node 4 inside the subgraph of node 7. */
export function nodeAt(id) {
  let graph = app.rootGraph ?? app.graph
  let node
  for (const part of String(id).split(':')) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part))
    graph = node?.subgraph
  }
  return node
}

export const isOurs = (node) => node.comfyClass?.startsWith('Longtake')

/** [node, id] of each of our nodes, in subgraphs too: "4:2" is node 2 of what node 4 holds. */
export function* ourNodes(graph = app.rootGraph, path = '') {
  for (const node of graph?.nodes ?? []) {
    if (isOurs(node)) yield [node, path + node.id]
    if (node.subgraph) yield* ourNodes(node.subgraph, `${path}${node.id}:`)
  }
}
