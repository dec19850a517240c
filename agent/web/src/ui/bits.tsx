// Small parts that every view has.
import type { ComponentChildren } from "preact";
import { color } from "../model/color";
import { duration, share } from "../model/format";
import type { Span } from "../model/span";
import { INCOMPLETE, parts, statusOf, sureness } from "../model/span";

export const Service = ({ name }: { name: string }) => (
  <span class="service" title={name}>
    <i style={{ background: color(name) }} />
    {name}
  </span>
);

/** What was asked for: a method and a path, or a name. Paths stand below each other, whatever the method before them. */
export const Asked = ({ of: [method, path] }: { of: readonly [string, string] }) => (
  <>
    <b class={`method ${path && !method.includes("/") ? "" : "whole"}`}>{method}</b>
    {` ${path}`}
  </>
);

export function StatusCode({ span }: { span: Span }) {
  const status = statusOf(span);
  const tone = span.status === "ERROR" ? "bad" : status.startsWith("4") ? "warn" : status.startsWith("3") ? "dim" : "good";
  return <span class={`status ${tone}`}>{status || (span.status === "ERROR" ? "error" : "–")}</span>;
}

/** How a span came by its parent. */
export function LinkBadge({ span }: { span: Span }) {
  if (!span.link) return null;
  const { method, confidence } = span.link;
  return (
    <span class={`badge link ${sureness(confidence) === "exact" ? "exact" : "guess"}`} title={`linked to its parent by ${method}, confidence ${confidence.toFixed(3)}`}>
      {`${method} ${sureness(confidence)}`}
    </span>
  );
}

export const Incomplete = ({ reason }: { reason: string | null }) =>
  reason === null ? null : (
    <span class="badge incomplete" title={`not the whole truth: ${INCOMPLETE[reason] ?? reason}`}>
      {`incomplete: ${reason}`}
    </span>
  );

/** A span's time as the kernel split it. */
export function Split({ span, withLegend = false }: { span: Span; withLegend?: boolean }) {
  const all = parts(span).filter((part) => part.ns > 0);
  const sum = all.reduce((sum, part) => sum + part.ns, 0);
  if (sum === 0) return withLegend ? <p class="dim">the kernel told no parts of its time</p> : null;
  return (
    <>
      <span class="split" aria-hidden={withLegend ? undefined : "true"}>
        {all.map((part) => (
          <i key={part.key} class={`part-${part.key}`} style={{ flexGrow: part.ns / sum }} title={`${part.label}: ${duration(part.ns)}`} />
        ))}
      </span>
      {withLegend && (
        <dl class="legend">
          {all.map((part) => (
            <div key={part.key}>
              <dt>
                <i class={`part-${part.key}`} /> {part.label}
              </dt>
              <dd>
                {duration(part.ns)} <span class="dim">{share(part.ns / sum)}</span>
              </dd>
            </div>
          ))}
        </dl>
      )}
    </>
  );
}

export const Panel = ({ title, children, aside, class: name }: { title: string; children: ComponentChildren; aside?: ComponentChildren; class?: string }) => (
  <section class={`panel ${name ?? ""}`} aria-label={title}>
    <header>
      <h2>{title}</h2>
      {aside}
    </header>
    {children}
  </section>
);

/** Says that what is shown is not all that was asked for, and what it is instead. */
export const Cut = ({ text }: { text: string }) => (
  <span class="cut" role="note" title={text}>
    {text}
  </span>
);

/** What went wrong, in its own place that is there in any case. */
export const Notice = ({ error, isLoading }: { error: string; isLoading?: boolean }) => (
  <div class={`notice ${error ? "bad" : ""}`} role="status" aria-live="polite">
    {error || (isLoading ? <span class="busy" /> : "")}
  </div>
);

export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void }) {
  return (
    <div class="choice" role="radiogroup" aria-label={label}>
      {options.map(([key, name]) => (
        <button key={key} type="button" role="radio" aria-checked={key === value} onClick={() => onChange(key)}>
          {name}
        </button>
      ))}
    </div>
  );
}
