-- name: double-spend | two executed transactions of one sender with one nonce; must be empty
select shard, sender, nonce, count(*) as times, list(hex(digest)) as digests
from transactions where kind <> 'settle' group by all having count(*) > 1 order by all;

-- name: equivocation | two votes of one validator for different blocks in one phase and view; must be empty
select shard, sender, phase, "view", count(distinct block_hash) as blocks
from votes where phase = 'notarize' group by all having count(distinct block_hash) > 1 order by all;

-- name: supply | where every issued unit is, per shard and epoch; holds must be true
select shard, epoch, height, issued, accounts, proposer_pool, escrow, private_pool, max_private_pool,
       burned, departed, holds
from supply order by shard, epoch;

-- name: in-transit | what a shard has sent to another that an exported epoch of that one does not hold yet
select s.source, s.destination, s.epoch, s.place, s.sender, s.recipient, s.amount
from links s anti join links r
  on r.direction = 'received' and r.source = s.source and r.destination = s.destination and r.place = s.place
where s.direction = 'sent' order by all;

-- name: links | what went over each link, sent and received: words, amounts and the last epochs
select source, destination,
       count(*) filter (direction = 'sent') as sent, count(*) filter (direction = 'received') as received,
       sum(amount) filter (direction = 'sent') as amount_sent,
       sum(amount) filter (direction = 'received') as amount_received,
       max(epoch) filter (direction = 'sent') as last_sent,
       max(epoch) filter (direction = 'received') as last_received
from links group by all order by all;

-- name: unproven-windows | closed windows with a segment whose proof the beacon has not accepted
select w.shard, w.epoch, w."window", w.segments, count(p.segment) filter (p.accepted) as accepted
from windows w left join proofs p on p.shard = w.shard and p."window" = w."window"
group by all having count(p.segment) filter (p.accepted) < w.segments order by all;

-- name: proofs-by-level | proofs, bytes and least proven bits of every level, from segments to days
select level, kind, count(*) as proofs, sum(bytes)::bigint as bytes, min(proven_bits) as proven_bits,
       min(first_window) as first_window, max(end_window) as end_window
from all_proofs group by level, kind
order by list_position(['segment', 'window', 'shard_epoch', 'epoch', 'shard_hour', 'day_run', 'day'], level), kind;

-- name: verify-proofs | every proof file verified now; what does not hold, or shows another statement than its row
with verified as materialized (select *, verify_proof_file(path) as found from all_proofs)
select level, first_window, end_window, path, found.verdict, found.reason,
       found.statement is not distinct from lower(hex(statement_digest)) as shows_its_row
from verified where found.verdict <> 'accepted' or found.statement is distinct from lower(hex(statement_digest)) order by all;

-- name: verify-day | the proofs of whole days, verified now: verdict, bits, and whether they show what their row says
with verified as materialized (select *, verify_proof_file(path) as found from day_proofs)
select day, level, first_window, end_window, fee_micros, issued, transfers, found.verdict, found.reason, found.bits,
       found.statement is not distinct from lower(hex(statement_digest)) as shows_its_row, path
from verified order by day, level desc;

-- name: prover-payments | segments proven and seconds spent, by prover
select prover, count(*) as segments, sum(prove_seconds) as seconds, sum(bytes) as bytes
from proofs group by all order by all;

-- name: latency | milliseconds from proposal to certificate, and from submission to certificate
select 'proposal to certificate' as measure, count(*) as n,
       quantile_cont(finality_millis, 0.5) as p50, quantile_cont(finality_millis, 0.99) as p99,
       max(finality_millis) as max
from blocks where transactions > 0
union all
select 'submission to certificate, ' || kind, count(*), quantile_cont(at_millis - r.submitted_millis, 0.5),
       quantile_cont(at_millis - r.submitted_millis, 0.99), max(at_millis - r.submitted_millis)
from receipts r join transactions using (shard, epoch, digest)
where state = 'bft_final' group by kind
order by measure;

-- name: rejections | dead letters by stage and reason
select stage, reason, count(*) as n from rejected group by all order by n desc, stage, reason;

-- name: hot-accounts | the accounts that receive most often
select shard, recipient, count(*) as received, sum(amount) as amount
from transactions where kind = 'transfer' group by all order by received desc, recipient limit 20;

-- name: findings | what no honest shard shows, by window: equivocation, duplicate digests, receipts that differ; must be empty
select shard, epoch, "window", finding, detail, signer, "view", height, hex(first_hash) as first_hash,
       hex(second_hash) as second_hash
from window_findings order by all;

-- name: window-fees | fees and latency of every counted window, by kind of transaction
select shard, "window", kind, transactions, fee_sum, fee_min, fee_p50, fee_max, latency_p50, latency_p99, latency_max
from window_kinds order by all;

-- name: window-supply | what the counted windows issued and sent away, added up, beside the supply of the exported epochs
with added as (
    select shard, epoch, "window", sum(issued) over past as issued,
           sum(sent_amount - received_amount) over past as departed
    from window_totals window past as (partition by shard order by "window")
), last as (
    select shard, epoch, max_by(issued, "window") as issued, max_by(departed, "window") as departed
    from added group by all
)
select shard, epoch, l.issued as counted_issued, s.issued, l.departed as counted_departed, s.departed,
       l.issued = s.issued and l.departed = coalesce(s.departed, 0) as agrees
from last l join supply s using (shard, epoch) order by all;
