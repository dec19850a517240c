// What of a long list is in view: only these rows are made.
import { useEffect, useState } from "preact/hooks";

/** Where an element is scrolled to, and how high it is, in pixels. */
export function useView(body: { current: HTMLElement | null }) {
  const [view, setView] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const element = body.current!;
    const seen = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(seen);
    observer.observe(element);
    element.addEventListener("scroll", seen, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", seen);
    };
  }, []);
  return view;
}
