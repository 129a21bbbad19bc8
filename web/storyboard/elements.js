// Elements of a page, made in one call each.

/**
 * An element with its properties and what is in it; what begins with `on` listens, names with a dash are attributes.
 */
export function element(tag, properties = {}, ...inside) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value)
    else if (name.includes('-') || name === 'role') made.setAttribute(name, value)
    else made[name] = value
  }
  made.append(...inside)
  return made
}

/** A button that shows a sign and is called by words. */
export function button(words, sign, onclick) {
  const icon = element('i', { className: `pi pi-${sign}`, 'aria-hidden': 'true' })
  return element('button', { type: 'button', className: 'lt-icon', title: words, 'aria-label': words, onclick }, icon)
}

/** Set the text of a field, but not under the hands of who writes there. */
export function fill(field, text) {
  if (field.value !== text && document.activeElement !== field) field.value = text
}

/** What listens to a field that is written in. A browser's own undo changes fields that nobody writes in too. */
export function written(act) {
  return ({ currentTarget }) => currentTarget === document.activeElement && act(currentTarget.value)
}

export function say(place, text) {
  if (place.textContent !== text) place.textContent = text
}
