/** octo's mark: a head that looks at you, and arms that reach out. */
export function Mark({ size = 28, className }: { size?: number; className?: string }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" fill="none" className={className} aria-hidden="true">
      <path
        d="M16 3.2c-5.2 0-8.9 3.8-8.9 8.7 0 2.6 1 4.5 2.1 6.1h13.6c1.1-1.6 2.1-3.5 2.1-6.1 0-4.9-3.7-8.7-8.9-8.7Z"
        fill="var(--accent)"
      />
      <g stroke="var(--accent)" strokeWidth="2.7" strokeLinecap="round">
        <path d="M10.6 17.2c-.7 3.3-2.7 4.9-5.9 4.6" />
        <path d="M13.1 17.6c.2 4.5-1.3 8.1-4.8 10" />
        <path d="M18.9 17.6c-.2 4.5 1.3 8.1 4.8 10" />
        <path d="M21.4 17.2c.7 3.3 2.7 4.9 5.9 4.6" />
        <path d="M16 17.6v11" />
      </g>
      <circle cx="12.7" cy="12.4" r="1.7" fill="var(--ground)" />
      <circle cx="19.3" cy="12.4" r="1.7" fill="var(--ground)" />
    </svg>
  );
}

/** The name, drawn: two rings, an open one, and a mast. */
export function Wordmark({ height = 20 }: { height?: number }) {
  return (
    <svg height={height} viewBox="0 0 86 26" fill="none" role="img" aria-label="octo">
      <g stroke="currentColor" strokeWidth="3.6" strokeLinecap="round">
        <circle cx="11" cy="15.5" r="7.7" />
        <path d="M40.6 10.3a7.7 7.7 0 1 0 0 10.4" />
        <path d="M51.5 3v15.2c0 3.2 1.7 5 4.7 5h.9M47.2 8.6h9.6" />
        <circle cx="73.5" cy="15.5" r="7.7" />
      </g>
      <circle cx="73.5" cy="15.5" r="2.6" fill="var(--accent)" />
    </svg>
  );
}
