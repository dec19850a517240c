// Keys and words.
import { useEffect, useRef } from "preact/hooks";
import { useKeys } from "./keys";

const KEYS: [string, string][] = [
  ["1 … 7", "the views"], ["/", "the filter; Enter takes a rule, Backspace removes the last"], ["j  k", "down and up; also the arrows, g and G"],
  ["Enter", "open; in a trace: collapse or expand"], ["Esc", "close, then back"], ["r", "ask again"], ["t", "light or dark"],
  ["space", "Live: stand still or go on"], ["f  n  N", "Trace: search, next, previous"], ["+  −  0", "Trace: zoom; also Ctrl and the wheel"],
  ["←  →", "Trace: collapse, expand, parent, child"], ["c", "Trace: critical path"], ["?", "this"],
];
const WORDS: [string, string][] = [
  ["service=shop", "and cart*: more of one word are alternatives, other words narrow"], ["process=nginx", "the executable"], ["pid=4711", "the process' number"], ["port=8080", "or 8000-8099, at either end"],
  ["path=/api", "and what is below; with * the whole path"], ["status=5xx", "or 404, >=400, error"], ["duration=100ms", "at least; max_duration: at most"], ["peer=10.0.*", "name or address of the other side"], ["container=3f2a", "the id's beginning"],
];

export function Help({ onClose }: { onClose: () => void }) {
  useKeys({ Escape: onClose, "?": onClose });
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  const list = (pairs: [string, string][]) => (
    <dl>
      {pairs.map(([key, meaning]) => (
        <div key={key}><dt><kbd>{key}</kbd></dt><dd>{meaning}</dd></div>
      ))}
    </dl>
  );
  return (
    <div class="overlay" onClick={(event) => event.target === event.currentTarget && onClose()}>
      <div class="dialog help" role="dialog" aria-modal="true" aria-label="help">
        <header><h2>Keys</h2><button ref={button} type="button" class="plain" onClick={onClose} aria-label="close">×</button></header>
        {list(KEYS)}
        <h2>Words of the filter</h2>
        {list(WORDS)}
        <p class="dim">The address holds what you see: copy it to share a view. <a href="/third-party.txt">Licence of what is built in</a></p>
      </div>
    </div>
  );
}
