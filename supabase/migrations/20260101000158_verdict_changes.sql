-- What would let a pod fit stands beside why it does not.
alter table stark.verdicts add column change text not null default '';
