// What a node reports in its output, kept on it when a run has ended: newer pages take down a line of progress then.

import { api } from '../../scripts/api.js'
import { app } from '../../scripts/app.js'
import { isOurs, nodeAt, ourNodes } from './graph.js'
import { PROGRESS, removeNote, showNote } from './notes.js'

const NAME = 'longtake_report'
const DRAWN = ['LongtakeRenderStoryboard'] // shown as its cards

app.registerExtension({
  name: 'longtake.reports',

  setup() {
    const reports = new Map()
    api.addEventListener('execution_start', () => {
      reports.clear()
      for (const [node] of ourNodes()) removeNote(node, NAME)
    })
    api.addEventListener('executed', ({ detail }) => {
      const node = nodeAt(detail.display_node ?? detail.node)
      const text = detail.output?.text
      if (node && isOurs(node) && text && !DRAWN.includes(node.comfyClass)) reports.set(node, [text].flat().join('\n'))
    })
    // Behind the page's own listeners, which take the line down.
    const keep = () =>
      setTimeout(() => {
        for (const [node, text] of reports) {
          if (!node.widgets?.some((widget) => widget.name === PROGRESS)) showNote(node, 'status', text, NAME)
        }
      })
    for (const end of ['execution_success', 'execution_error', 'execution_interrupted']) api.addEventListener(end, keep)
  }
})
