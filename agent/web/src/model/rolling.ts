// The last spans that came, bounded; and figures of the last seconds.
import type { Span } from "./span";
import { durationNs, millis } from "./span";

export const KEPT = 5000;
const POINTS = 20_000;
/** Seconds of the picture. */
export const WINDOW_S = 60;
/** Seconds of the figures. */
const FIGURES_S = 10;

export interface Point {
  ms: number;
  ns: number;
  isError: boolean;
  service: string;
}

export interface Figures {
  rate: number;
  errors: number;
  p50: number | null;
  p99: number | null;
}

export class Rolling {
  /** The newest first. */
  spans: Span[] = [];
  points: Point[] = [];
  total = 0;
  lost = 0;
  private fresh: Span[] = [];
  /** How far the spans' clock is behind this browser's. */
  private skew = 0;

  add(span: Span): void {
    this.total++;
    this.fresh.push(span);
    // A page that is not shown takes nothing, for as long as it is not shown.
    if (this.fresh.length > 2 * KEPT) this.fresh.splice(0, KEPT);
  }

  /** Takes what came since the last time; returns whether there was any. */
  take(): boolean {
    if (this.fresh.length === 0) return false;
    const fresh = this.fresh.splice(0);
    for (const span of fresh) {
      const point = { ms: millis(span.end_ns), ns: durationNs(span), isError: span.status === "ERROR", service: span.service };
      this.points.push(point);
      this.skew = Math.max(this.skew - 1, point.ms - Date.now());
    }
    if (this.points.length > POINTS * 1.2) this.points = this.points.slice(-POINTS);
    this.spans = fresh.reverse().concat(this.spans).slice(0, KEPT);
    return true;
  }

  now = (): number => Date.now() + Math.max(0, this.skew);

  figures(): Figures {
    const from = this.now() - FIGURES_S * 1000;
    const recent: number[] = [];
    let errors = 0;
    for (let at = this.points.length - 1; at >= 0 && this.points[at]!.ms > from - 2000; at--) {
      const point = this.points[at]!;
      if (point.ms < from) continue;
      recent.push(point.ns);
      errors += Number(point.isError);
    }
    recent.sort((a, b) => a - b);
    const at = (share: number) => (recent.length ? recent[Math.min(recent.length - 1, Math.floor(recent.length * share))]! : null);
    return { rate: recent.length / FIGURES_S, errors: recent.length ? errors / recent.length : 0, p50: at(0.5), p99: at(0.99) };
  }
}
