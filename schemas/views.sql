-- Views over the exported epochs. `$epochs` is replaced by the directory of DATA/epochs.
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
-- Empty until the prover market and the fraud proofs exist; the columns are those they will fill.
create or replace view rewards as
    select null::integer as shard, null::bigint as epoch, null::blob as job_id,
           null::varchar as prover, null::ubigint as amount where false;
create or replace view faults as
    select null::integer as shard, null::bigint as epoch, null::bigint as height,
           null::varchar as claim, null::varchar as verdict where false;
