// A canvas that is as sharp as the screen, and is drawn anew when its size, its contents or the theme change.
import { useEffect, useRef } from "preact/hooks";

export type Draw = (context: CanvasRenderingContext2D, width: number, height: number) => void;

interface Props {
  draw: Draw;
  label: string;
  class?: string;
  onPointerDown?: (event: PointerEvent) => void;
  onPointerMove?: (event: PointerEvent) => void;
  onPointerUp?: (event: PointerEvent) => void;
  onPointerLeave?: (event: PointerEvent) => void;
  onDblClick?: (event: MouseEvent) => void;
  onClick?: (event: MouseEvent) => void;
  onWheel?: (event: WheelEvent) => void;
}

export function Canvas({ draw, label, class: name, onWheel, ...handlers }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(draw);
  latest.current = draw;
  const paint = useRef(() => {});
  useEffect(() => {
    const element = canvas.current!;
    paint.current = () => {
      const { clientWidth: width, clientHeight: height } = element;
      if (!width || !height) return;
      const scale = devicePixelRatio || 1;
      const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
      if (element.width !== w || element.height !== h) [element.width, element.height] = [w, h];
      const context = element.getContext("2d")!;
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.clearRect(0, 0, width, height);
      latest.current(context, width, height);
    };
    const resized = new ResizeObserver(() => paint.current());
    resized.observe(element);
    const themed = () => paint.current();
    addEventListener("theme", themed);
    return () => {
      resized.disconnect();
      removeEventListener("theme", themed);
    };
  }, []);
  useEffect(() => paint.current(), [draw]);
  useEffect(() => {
    // Preact's own listener would be passive, and the page would scroll as well.
    const element = canvas.current!;
    if (!onWheel) return;
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  }, [onWheel]);
  return (
    <div class={`canvas ${name ?? ""}`}>
      <canvas ref={canvas} role="img" aria-label={label} {...handlers} />
    </div>
  );
}

/** Where in a canvas an event happened. */
export const at = (event: MouseEvent): [number, number] => {
  const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};

/** A canvas' font. */
export const FONT = "11px system-ui, sans-serif";
