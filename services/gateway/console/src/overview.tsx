/** The first view: how calls went in a range, beside the period before. */

import { useEffect, useMemo } from "preact/hooks";
import { FIGURES, weekOf } from "./figures.ts";
import * as format from "./format.ts";
import { HeatMap } from "./heatmap.tsx";
import { Icon } from "./icons.tsx";
import { FigureCard, FigureSkeleton } from "./kpi.tsx";
import { Latest } from "./latest.tsx";
import { Bone, Failure, LimitNotice, Nothing, Shown } from "./notices.tsx";
import { RangePicker } from "./range-picker.tsx";
import { bucketOf, isOpen, nameOfPrevious, presetRange, previous, type Range, rangeOf, rangeQuery, withRange } from "./ranges.ts";
import { type Resource, useResource } from "./resource.ts";
import { Link, OVERVIEW, type Place } from "./router.tsx";
import { SentimentCard } from "./sentiment.tsx";
import type { Bucket, ConversationPage, Metrics } from "./shapes.ts";
import { Timeline } from "./timeline.tsx";

const EVERY_MS = 60_000;
const LATEST = 6;

type Figures = { metrics: Metrics };
type Buckets = { timeline: Bucket[] };

/** Three or four requests of analytics and one of conversations. */
export function Overview({ place }: { readonly place: Place }) {
  const now = Date.now();
  const range = rangeOf(place.query, now);
  const every = isOpen(range, now) ? EVERY_MS : 0;
  const bucket = bucketOf(range);
  const asked = rangeQuery(range);
  const current = useResource<Figures>(`/voice/analytics/detailed?${asked}`, { every });
  const before = useResource<Figures>(`/voice/analytics/detailed?${rangeQuery(previous(range))}`);
  const timeline = useResource<Buckets>(`/voice/analytics/timeline?${asked}&bucket=${bucket}&fill=zero`, { every });
  const apart = useResource<Buckets>(bucket === "hour" ? null : `/voice/analytics/timeline?${asked}&bucket=hour`, { every });
  const hours = bucket === "hour" ? timeline : apart;
  const latest = useResource<ConversationPage>(`/conversations?channel=voice&${asked}&limit=${LATEST}`, { every });
  const all: Resource<unknown>[] = [current, before, timeline, apart, latest];
  useEffect(() => {
    document.title = "Overview · Voice Console";
  }, []);

  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1 tabIndex={-1}>Overview</h1>
          <p class="muted page-range">
            {format.days(range.start, range.end)} · all times UTC<AsOf of={[current, timeline]} />
          </p>
        </div>
        <div class="page-tools">
          <RangePicker path={OVERVIEW} query={place.query} range={range} />
          <button class="button is-icon" type="button" title="Compute the figures anew" aria-label="Compute the figures anew" onClick={() => all.forEach(({ reload }) => reload(true))}>
            <Icon name="refresh" size={18} />
          </button>
        </div>
      </div>
      <LimitNotice of={all} />
      <Kpis current={current} before={before} range={range} />
      <div class="grid-2-1">
        <section class="card" aria-labelledby="timeline-title">
          <div class="card-head">
            <h2 id="timeline-title">Calls by {bucket}</h2>
            <ul class="legend"><li class="legend-calls">Calls</li><li class="legend-duration">Average duration</li></ul>
          </div>
          <div class="chart-box">
            <Shown of={timeline} skeleton={<ChartSkeleton />}>
              {({ timeline: buckets }) => buckets.every(({ call_count }) => call_count === 0) ? <NoCalls place={place} range={range} /> : <Timeline buckets={buckets} bucket={bucket} />}
            </Shown>
          </div>
        </section>
        <section class="card" aria-labelledby="sentiment-title">
          <div class="card-head"><h2 id="sentiment-title">Sentiment</h2></div>
          <div class="chart-box">
            <Shown of={current} skeleton={<ListSkeleton rows={3} />}>
              {({ metrics }) => <SentimentCard metrics={metrics} before={before.stale ? null : (before.loaded?.body.metrics ?? null)} />}
            </Shown>
          </div>
        </section>
        <section class="card" aria-labelledby="week-title">
          <div class="card-head"><h2 id="week-title">When calls come in</h2><span class="muted small">Weekday and hour, UTC</span></div>
          <div class="heat-box">
            <Shown of={hours} skeleton={<ChartSkeleton />}>{({ timeline: buckets }) => <Week buckets={buckets} />}</Shown>
          </div>
        </section>
        <section class="card" aria-labelledby="latest-title">
          <div class="card-head">
            <h2 id="latest-title">Latest conversations</h2>
            <Link class="link small" path="/console/conversations" query={withRange(new URLSearchParams(), range)}>See all<span class="sr"> conversations of the range</span></Link>
          </div>
          <div class="latest-box">
            <Shown of={latest} skeleton={<ListSkeleton rows={LATEST} />}>
              {({ conversations }) => <Latest conversations={conversations} query={place.query} />}
            </Shown>
          </div>
        </section>
      </div>
    </div>
  );
}

function Kpis({ current, before, range }: { readonly current: Resource<Figures>; readonly before: Resource<Figures>; readonly range: Range }) {
  if (current.error !== null && current.loaded === null && current.error.status !== 429) {
    return <section class="card kpis-failed" aria-label="Key figures"><Failure error={current.error} retry={() => current.reload()} /></section>;
  }
  const past = before.stale ? null : (before.loaded?.body.metrics ?? null);
  return (
    <section aria-label="Key figures" aria-busy={current.loaded === null || current.stale}>
      <h2 class="sr">Key figures</h2>
      <ul class={current.stale && current.loaded !== null ? "kpis is-stale" : "kpis"}>
        {FIGURES.map((figure) => current.loaded === null
          ? <FigureSkeleton key={figure.key} figure={figure} />
          : <FigureCard key={figure.key} figure={figure} now={current.loaded.body.metrics} before={past} period={nameOfPrevious(range)} failed={before.error !== null} />)}
      </ul>
    </section>
  );
}

function Week({ buckets }: { readonly buckets: readonly Bucket[] }) {
  const week = useMemo(() => weekOf(buckets), [buckets]);
  return <HeatMap week={week} />;
}

function AsOf({ of }: { readonly of: readonly Resource<unknown>[] }) {
  const moments = of.flatMap(({ loaded }) => (loaded === null ? [] : [loaded.computedAt]));
  return moments.length === 0 ? null : <> · as of <time dateTime={new Date(Math.min(...moments)).toISOString()}>{format.clock(Math.min(...moments))}</time></>;
}

function NoCalls({ place, range }: { readonly place: Place; readonly range: Range }) {
  return (
    <Nothing title="No calls in this range">
      {range.preset === "90d"
        ? <p>Calls appear here a second after Telnyx tells of them.</p>
        : <Link class="button" path={OVERVIEW} query={withRange(place.query, presetRange("90d", Date.now()))}>Look at the last 90 days</Link>}
    </Nothing>
  );
}

function ChartSkeleton() {
  return <div class="bone chart-bone" aria-hidden="true" />;
}

function ListSkeleton({ rows }: { readonly rows: number }) {
  return <div class="list-bones">{Array.from({ length: rows }, (_, row) => <Bone key={row} width={`${90 - ((row * 17) % 40)}%`} />)}</div>;
}
