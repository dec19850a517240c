// Keys: the innermost part that knows a key gets it. What is typed into a field stays there, but for Escape.
import { useLayoutEffect, useRef } from "preact/hooks";

type Keys = Record<string, (event: KeyboardEvent) => void>;
const layers: { current: Keys }[] = [];

export function useKeys(keys: Keys): void {
  const own = useRef(keys);
  own.current = keys;
  // Before it is seen: a key that is pressed then is for what is seen.
  useLayoutEffect(() => {
    layers.push(own);
    return () => void layers.splice(layers.indexOf(own), 1);
  }, []);
}

export function listen(): void {
  addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    const isTyping = target.matches("input, select, textarea");
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || (isTyping && event.key !== "Escape")) return;
    // A button or link that has the focus takes these itself.
    if ((event.key === "Enter" || event.key === " ") && target.matches("button, a, summary")) return;
    if (isTyping) {
      target.blur();
      return;
    }
    for (let at = layers.length - 1; at >= 0; at--) {
      const act = layers[at]!.current[event.key];
      if (act) {
        event.preventDefault();
        act(event);
        return;
      }
    }
  });
}
