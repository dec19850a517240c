// The filter: chips of `word=value`, one field to type the next into, and the time. It is the same in every view.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { ask, useData } from "../api";
import { clock, lastName } from "../model/format";
import { millis } from "../model/span";
import { LAST, WORDS, addRule, go, type Rule, type State, type Word } from "../state";
import { useKeys } from "./keys";

const HINTS: Record<Word, string> = {
  service: "shop or cart*", process: "nginx", pid: "4711", port: "8080 or 8000-8099", path: "/api or /api/*/items", status: "5xx, >=400, error",
  duration: "250ms: at least so long", peer: "10.0.0.*", container: "beginning of its id", max_duration: "1s: at most so long",
  kind: "server or client", name: "GET /items", attribute: "http.request.method=POST",
};

/** What was typed as a rule: `word=value`, `duration>10ms`, or a value that can mean only one thing. */
export function understand(typed: string): Rule | null {
  const text = typed.trim();
  const [, word, sign, value] = /^([a-z_]+)\s*(=|:|>=|<=|>|<)\s*(.+)$/s.exec(text) ?? [];
  if (word && value && (WORDS as readonly string[]).includes(word)) {
    if (word === "duration") return [sign!.startsWith("<") ? "max_duration" : "duration", value.trim()];
    return [word as Word, word === "status" && /[<>]/.test(sign!) ? sign + value.trim() : value.trim()];
  }
  if (/^[/*]/.test(text)) return ["path", text];
  if (/^([1-5]\d\d|[1-5]xx|[<>]=?\d+|error)$/i.test(text)) return ["status", text];
  if (/^[\d.]+\s*(ns|us|µs|ms|s|m)$/.test(text)) return ["duration", text];
  return text && !/[=:]/.test(text) ? ["service", text] : null;
}

export function FilterBar({ state }: { state: State }) {
  const field = useRef<HTMLInputElement>(null);
  const [typed, setTyped] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [chosen, setChosen] = useState(-1);
  const [refused, setRefused] = useState("");
  const services = useData<{ services: { name: string }[] }>(isOpen ? "/v1/services?last=60m" : null);
  useKeys({ "/": () => field.current?.focus() });
  useEffect(() => setChosen(-1), [typed]);

  const offers = useMemo(() => {
    const [, word, value] = /^([a-z_]+)[=:](.*)$/s.exec(typed) ?? [];
    if (word === "service") {
      const names = services.data?.services.map(({ name }) => name) ?? [];
      return names.filter((name) => name.includes(value ?? "")).slice(0, 12).map((name) => ({ text: `service=${name}`, hint: "" }));
    }
    if (word) return [];
    return WORDS.filter((known) => known.startsWith(typed)).map((known) => ({ text: `${known}=`, hint: HINTS[known] }));
  }, [typed, services.data]);

  const take = async (text: string) => {
    const rule = understand(text);
    if (!rule) return setRefused(`"${text}" is no rule: give word=value, with one of the words ${WORDS.join(", ")}`);
    try {
      // The agent judges: what makes no sense is not taken, and says why. Nothing is as old as this asks for.
      await ask(`/v1/spans?${new URLSearchParams([[...rule], ["from", "1"], ["to", "2"]])}`);
    } catch (error) {
      return setRefused((error as Error).message);
    }
    setRefused("");
    setTyped("");
    addRule(...rule);
  };
  const accept = (text: string) => {
    if (text.endsWith("=")) setTyped(text);
    else void take(text);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter") {
      event.preventDefault();
      const offer = offers[chosen];
      if (offer) accept(offer.text);
      else if (typed.trim()) void take(typed);
    } else if (event.key === "Tab" && offers.length > 0 && typed && !event.shiftKey) {
      event.preventDefault();
      accept(offers[Math.max(0, chosen)]!.text);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      setChosen((before) => Math.max(-1, Math.min(offers.length - 1, before + (event.key === "ArrowDown" ? 1 : -1))));
    } else if (event.key === "Backspace" && typed === "" && state.rules.length > 0) {
      go({ rules: state.rules.slice(0, -1) });
    }
  };
  return (
    <div class="filter">
      <div class="chips" onClick={(event) => event.target === event.currentTarget && field.current?.focus()}>
        {state.rules.map((rule, place) => (
          <span class="chip" key={rule.join("=")}>
            <b>{rule[0]}</b>
            <span>{rule[1]}</span>
            <button type="button" aria-label={`remove ${rule.join("=")}`} onClick={() => go({ rules: state.rules.filter((_, other) => other !== place) })}>
              ×
            </button>
          </span>
        ))}
        <input
          ref={field}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onFocus={() => setOpen(true)}
          onBlur={() => setTimeout(() => setOpen(false), 150)}
          placeholder={state.rules.length ? "" : "filter: service=shop  status=5xx  path=/api  duration=100ms   ( / )"}
          aria-label="filter"
          role="combobox"
          aria-expanded={isOpen && offers.length > 0}
          aria-controls="offers"
          autocomplete="off"
          spellcheck={false}
        />
        {isOpen && offers.length > 0 && (
          <ul class="offers" id="offers" role="listbox">
            {offers.map((offer, place) => (
              <li key={offer.text} role="option" aria-selected={place === chosen} onMouseDown={(event) => (event.preventDefault(), accept(offer.text))}>
                <b>{offer.text}</b> <span class="dim">{offer.hint}</span>
              </li>
            ))}
          </ul>
        )}
      </div>
      {refused && (
        <div class="refused" role="alert" onClick={() => setRefused("")}>
          {refused}
        </div>
      )}
      <TimeChoice state={state} />
    </div>
  );
}

function TimeChoice({ state }: { state: State }) {
  const { from, to, last } = state.time;
  const fixed = state.view === "live" || state.view === "health" ? "now" : state.view === "trace" && state.id ? "this trace" : "";
  if (fixed) return <select class="time" aria-label="time" disabled title="this view's time is not chosen"><option>{fixed}</option></select>;
  if (from || to) {
    return (
      <span class="chip time">
        <b>time</b>
        <span>
          {from ? clock(millis(from), false) : "…"} – {to ? clock(millis(to), false) : "…"}
        </span>
        <button type="button" aria-label="remove the time" onClick={() => go({ time: {} })}>
          ×
        </button>
      </span>
    );
  }
  return (
    <select class="time" aria-label="time" value={last} onChange={(event) => go({ time: { last: event.currentTarget.value } })}>
      {[...LAST, "all"].map((one) => (
        <option key={one} value={one}>
          {lastName(one)}
        </option>
      ))}
    </select>
  );
}
