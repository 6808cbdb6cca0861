-- Views over the exported epochs. `$epochs` is replaced by the directory of DATA/epochs.
-- `$proof_index` is DATA/proofs/proof_index.parquet, or an empty table of its columns where no export wrote one.
-- `$window_...` are the tables of DATA/analytics, or empty tables of their columns where nothing has counted windows.
-- Hive partitioning adds the columns shard and epoch to every table.
create or replace view transactions as
    select shard, epoch, height, position, "window", digest, kind, sender, recipient,
           amount, amount / 1e9 as amount_eclipt, fee, nonce, expiry, submitted_millis, body, signature
    from read_parquet('$epochs/shard=*/epoch=*/transactions.parquet', hive_partitioning = true);
create or replace view links as
    select shard, epoch, direction, peer,
           case when direction = 'sent' then shard else peer end as source,
           case when direction = 'sent' then peer else shard end as destination,
           place, height, "window", sender, recipient, amount, nonce
    from read_parquet('$epochs/shard=*/epoch=*/links.parquet', hive_partitioning = true);
create or replace view registrations as
    select * from read_parquet('$epochs/shard=*/epoch=*/registrations.parquet', hive_partitioning = true);
create or replace view blocks as
    select *, certified_millis - proposed_millis as finality_millis
    from read_parquet('$epochs/shard=*/epoch=*/blocks.parquet', hive_partitioning = true);
create or replace view votes as
    select * from read_parquet('$epochs/shard=*/epoch=*/votes.parquet', hive_partitioning = true);
create or replace view certificates as
    select * from read_parquet('$epochs/shard=*/epoch=*/certificates.parquet', hive_partitioning = true);
create or replace view windows as
    select * from read_parquet('$epochs/shard=*/epoch=*/windows.parquet', hive_partitioning = true);
create or replace view proofs as
    select * from read_parquet('$epochs/shard=*/epoch=*/proofs.parquet', hive_partitioning = true);
create or replace view jobs as
    select * from read_parquet('$epochs/shard=*/epoch=*/jobs.parquet', hive_partitioning = true);
create or replace view receipts as
    select * from read_parquet('$epochs/shard=*/epoch=*/receipts.parquet', hive_partitioning = true);
create or replace view rejected as
    select * from read_parquet('$epochs/shard=*/epoch=*/rejected.parquet', hive_partitioning = true);
create or replace view supply as
    select *,
           issued = accounts::hugeint + proposer_pool + escrow + private_pool + max_private_pool + burned
                    + coalesce(departed, 0)
           and cap = reserve::hugeint + issued as holds
    from read_parquet('$epochs/shard=*/epoch=*/supply.parquet', hive_partitioning = true);
-- Proofs of every level and what they say. A day's number counts whole days, which a proof of level day shows.
create or replace view all_proofs as
    select *, first_window // (select max(end_window - first_window) from $proof_index where level = 'day') as day
    from $proof_index;
-- Totals of what a proof is about: of whole windows alone, since a window may be cut in the middle of a block.
create or replace view proof_totals as
    with sums as (
        select shard, "window", sum(fee)::hugeint as fee_micros, count(*) filter (kind in ('transfer', 'outbound')) as transfers,
               coalesce(sum(amount) filter (kind = 'issue'), 0)::hugeint as issued
        from transactions group by all
    ), cut as (
        select p.level, p.statement_digest from all_proofs p
        join windows w on w.shard = p.shard and w."window" = p.end_window - 1
        where p.shard is not null and (p.first_segment > 0 or p.last_segment < w.segments - 1)
    )
    select p.level, p.statement_digest, coalesce(sum(s.fee_micros), 0) as fee_micros,
           coalesce(sum(s.issued), 0) as issued, coalesce(sum(s.transfers), 0)::bigint as transfers
    from all_proofs p anti join cut using (level, statement_digest)
    left join sums s on (p.shard is null or s.shard = p.shard)
        and s."window" >= p.first_window and s."window" < p.end_window
    group by all;
create or replace view segment_proofs as
    select shard, first_window as "window", first_segment as segment, first_epoch as epoch, * exclude
           (shard, first_window, end_window, first_segment, last_segment, first_epoch, last_epoch, validators, history),
           fee_micros, issued, transfers
    from all_proofs left join proof_totals using (level, statement_digest) where level = 'segment';
create or replace view lift_proofs as
    select * exclude (validators)
    from all_proofs left join proof_totals using (level, statement_digest) where level = 'window';
create or replace view shard_epoch_proofs as
    select * exclude (validators)
    from all_proofs left join proof_totals using (level, statement_digest) where level = 'shard_epoch';
create or replace view epoch_proofs as
    select * exclude (shard, first_segment, last_segment, first_height, last_height)
    from all_proofs left join proof_totals using (level, statement_digest) where level = 'epoch';
create or replace view hour_proofs as
    select * exclude (shard, first_segment, last_segment, first_height, last_height)
    from all_proofs left join proof_totals using (level, statement_digest) where level = 'shard_hour';
create or replace view day_proofs as
    select * exclude (shard, first_segment, last_segment, first_height, last_height)
    from all_proofs left join proof_totals using (level, statement_digest) where level in ('day_run', 'day');
-- Windows as counted by `run export --runner direct` or `flink`; empty where nothing counts them.
create or replace view window_totals as select * from $window_totals;
create or replace view window_kinds as select * from $window_kinds;
create or replace view window_rejections as select * from $window_rejections;
create or replace view window_findings as select * from $window_findings;
-- Empty until the prover market and the fraud proofs exist; the columns are those they will fill.
create or replace view rewards as
    select null::integer as shard, null::bigint as epoch, null::blob as job_id,
           null::varchar as prover, null::ubigint as amount where false;
create or replace view faults as
    select null::integer as shard, null::bigint as epoch, null::bigint as height,
           null::varchar as claim, null::varchar as verdict where false;
