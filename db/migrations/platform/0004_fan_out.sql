-- Work that was split into tasks for any process to take, and what came of them.
create table jobs (
  id uuid not null,
  kind text not null,
  status text not null,
  data json not null,
  total integer not null,
  done integer not null,
  failed integer not null,
  -- What the results came to, once every task is done or given up.
  result json,
  version integer not null,
  created_at timestamptz not null,
  constraint jobs_pkey primary key (id),
  constraint jobs_status_check check (status in ('running', 'completed', 'failed')),
  constraint jobs_count_check check (done + failed <= total and (status = 'running') = (done + failed < total))
);

create table job_tasks (
  job_id uuid not null,
  task integer not null,
  status text not null,
  result json,
  error text,
  constraint job_tasks_pkey primary key (job_id, task),
  constraint job_tasks_job_fkey foreign key (job_id) references jobs (id) on delete cascade,
  constraint job_tasks_status_check check (status in ('pending', 'done', 'failed'))
);
