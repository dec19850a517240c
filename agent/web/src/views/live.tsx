// Live: requests as they happen. The list stands still while somebody looks at it closely.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { Failure, events, get, parse } from "../api";
import { color, themed } from "../model/color";
import { count, duration, rate, share } from "../model/format";
import { KEPT, Rolling, WINDOW_S } from "../model/rolling";
import type { Span } from "../model/span";
import { query, show, type State } from "../state";
import { Notice } from "../ui/bits";
import { Canvas, FONT } from "../ui/canvas";
import { spanColumns } from "../ui/columns";
import { Details } from "../ui/details";
import { useKeys } from "../ui/keys";
import { Table } from "../ui/table";

const AGAIN_MS = 2000;
/** The picture need not move as often as the list. */
const PAINT_MS = 50;
/** Spans of the last minute to begin with. */
const BEFORE = 500;
const NONE = { rate: 0, errors: 0, p50: null, p99: null };

export function Live({ state }: { state: State }) {
  const rolling = useRef(new Rolling());
  const [spans, setSpans] = useState<Span[]>([]);
  const [figures, setFigures] = useState(NONE as ReturnType<Rolling["figures"]>);
  const [frame, setFrame] = useState(0);
  const [isPaused, setPaused] = useState(false);
  const [isHeld, setHeld] = useState(false);
  const [selected, setSelected] = useState<Span>();
  const [error, setError] = useState("");
  const stands = useRef(false);
  stands.current = isPaused || isHeld;
  const seen = useRef(0);
  const filter = JSON.stringify(state.rules);

  useEffect(() => {
    const stop = new AbortController();
    rolling.current = new Rolling();
    setSpans([]);
    seen.current = 0;
    const path = `/v1/live?${new URLSearchParams(state.rules.map(([word, text]) => [word, text]))}`;
    const follow = async () => {
      try {
        // What has just passed, so that the view is not empty at first. Without a store there is none.
        const before = await get<{ spans: Span[] }>(`/v1/spans?${query({ ...state, time: { last: "1m" } }, { limit: String(BEFORE) })}`, stop.signal);
        before.spans.reverse().forEach((span) => rolling.current.add(span));
      } catch {
        if (stop.signal.aborted) return;
      }
      while (!stop.signal.aborted) {
        try {
          setError("");
          await events(path, stop.signal, (kind, data) => {
            if (kind === "span") rolling.current.add(parse(data) as Span);
            else if (kind === "lost") rolling.current.lost += Number(data);
          });
          setError("the agent has ended; trying again");
        } catch (failure) {
          if (stop.signal.aborted) return;
          setError((failure as Error).message);
          if (failure instanceof Failure && failure.status === 400) return;
        }
        await new Promise((done) => setTimeout(done, AGAIN_MS));
      }
    };
    void follow();
    let [figured, painted] = [0, 0];
    let next = requestAnimationFrame(function tick(now) {
      next = requestAnimationFrame(tick);
      const hasNew = rolling.current.take();
      if (hasNew && !stands.current) {
        seen.current = rolling.current.total;
        setSpans(rolling.current.spans);
      }
      if (now - figured > 500) {
        figured = now;
        setFigures(rolling.current.figures());
      }
      if (now - painted > PAINT_MS) {
        painted = now;
        setFrame(now);
      }
    });
    return () => {
      stop.abort();
      cancelAnimationFrame(next);
    };
  }, [filter]);

  const pause = () => setPaused((before) => !before);
  const close = () => setSelected(undefined);
  useKeys({ " ": pause, p: pause, ...(selected ? { Escape: close } : {}) });
  useEffect(() => {
    if (!stands.current) setSpans(rolling.current.spans);
  }, [isPaused, isHeld]);
  const open = useCallback((span: Span) => show("trace", { id: span.trace_id, own: { span: span.span_id } }), []);
  const draw = useCallback((context: CanvasRenderingContext2D, width: number, height: number) => drawLive(context, width, height, rolling.current), [frame]);
  const waiting = rolling.current.total - seen.current;
  return (
    <div class={`view live ${selected ? "with-details" : ""}`}>
      <div class="strip">
        <Canvas draw={draw} label="durations of the last minute" class="strip-canvas" />
        <dl class="figures">
          <div><dt>rate</dt><dd>{rate(figures.rate)}</dd></div>
          <div><dt>errors</dt><dd class={figures.errors > 0 ? "bad" : ""}>{share(figures.errors)}</dd></div>
          <div><dt>p50</dt><dd>{duration(figures.p50)}</dd></div>
          <div><dt>p99</dt><dd>{duration(figures.p99)}</dd></div>
        </dl>
      </div>
      <div class="bar">
        <button type="button" class={isPaused ? "primary" : ""} onClick={pause} aria-pressed={isPaused}>
          {isPaused ? "▶ Go on" : "❚❚ Pause"} <kbd>space</kbd>
        </button>
        <span class="dim live-state" role="status" data-count={rolling.current.total}>
          {isPaused || isHeld ? `stands still${isHeld && !isPaused ? " while the pointer is here" : ""} · ${count(waiting)} new` : `${count(rolling.current.total)} seen${rolling.current.total > KEPT ? `, the newest ${count(KEPT)} listed` : ""}`}
          {rolling.current.lost > 0 && ` · ${count(rolling.current.lost)} came too fast for this page`}
        </span>
        <Notice error={error} />
      </div>
      <div class="main-list" onPointerEnter={(event) => event.pointerType === "mouse" && setHeld(true)} onPointerLeave={() => setHeld(false)}>
        <Table
          label="live requests" columns={spanColumns} rows={spans} id={(span) => span.span_id} sort="" onOpen={open}
          onSelect={(span) => (setSelected(span), setPaused(true))} tone={(span) => (span.status === "ERROR" ? "bad" : "")}
          empty={state.rules.length > 0 ? <><b>Waiting for requests that fit</b><p>None has come that all rules above let through. Without them, everything on this host that speaks HTTP shows up here.</p></> : <><b>Waiting for requests</b><p>Everything on this host that speaks HTTP shows up here by itself. Nothing comes? The view <a href="#/health">Health</a> tells what is seen and what not.</p></>}
        />
      </div>
      {selected && <Details span={selected} onClose={close} />}
    </div>
  );
}

function drawLive(context: CanvasRenderingContext2D, width: number, height: number, rolling: Rolling) {
  const now = rolling.now();
  const bottom = height - 16;
  const y = (ns: number) => bottom - ((Math.log10(Math.max(1e4, ns)) - 4) / 6.2) * (bottom - 6);
  context.font = FONT;
  context.fillStyle = themed("dim");
  context.strokeStyle = themed("line");
  context.textBaseline = "middle";
  for (const [ns, label] of [[1e5, "100 µs"], [1e6, "1 ms"], [1e7, "10 ms"], [1e8, "100 ms"], [1e9, "1 s"]] as const) {
    context.fillText(label, 6, y(ns));
    context.beginPath();
    context.moveTo(52, Math.round(y(ns)) + 0.5);
    context.lineTo(width, Math.round(y(ns)) + 0.5);
    context.stroke();
  }
  for (const ago of [50, 40, 30, 20, 10]) context.fillText(`−${ago} s`, 52 + (1 - ago / WINDOW_S) * (width - 60), height - 7);
  const bad = themed("bad");
  const paints = new Map<string, string>();
  for (let at = rolling.points.length - 1; at >= 0; at--) {
    const point = rolling.points[at]!;
    const x = 52 + (1 - (now - point.ms) / (WINDOW_S * 1000)) * (width - 60);
    if (x < 50) break;
    let paint = point.isError ? bad : paints.get(point.service);
    if (!paint) paints.set(point.service, (paint = color(point.service, 0.8)));
    context.fillStyle = paint;
    const size = point.isError ? 4 : 3;
    context.fillRect(x - size / 2, y(point.ns) - size / 2, size, size);
  }
}
