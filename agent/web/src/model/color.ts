// A colour for each service, the same in every view and on every host: it depends on the name alone.

const known = new Map<string, number>();

export function hue(name: string): number {
  let found = known.get(name);
  if (found === undefined) {
    let hash = 2166136261;
    for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 16777619);
    // Steps of 15 degrees; red (345 to 15) is for errors alone.
    found = 30 + ((hash >>> 0) % 21) * 15;
    known.set(name, found);
  }
  return found;
}

export const isDark = (): boolean => document.documentElement.dataset.theme !== "light";

export const color = (name: string, alpha = 1): string =>
  isDark() ? `hsl(${hue(name)} 58% 62% / ${alpha})` : `hsl(${hue(name)} 58% 42% / ${alpha})`;

/** A colour of the style sheet, for canvases. */
export const themed = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
