-- The database of a production set-up: one role owns the tables and migrates, another runs the application. The second may
-- add to the history (journal_line, audit, outside_call, verdict, seal, seal_stream, and asked and run_listed, by which it is found)
-- and change or remove nothing in it; nor can it drop the triggers that refuse the same to the owner.
--
-- 1. As an administrator who may make roles and databases, connected to any database (choose the passwords). What is there already
--    stays as it is, passwords too, so that it can be run again:
--
--      psql -d postgres -v owner_password=… -v app_password=… -f database.sql
--
-- 2. As the owner, at each deployment, before the new version starts (old processes may go on running meanwhile):
--
--      DATABASE_URL=postgres://firebreak_owner:…@host/firebreak firebreak migrate
--
-- 3. The application:
--
--      DATABASE_URL=postgres://firebreak:…@host/firebreak firebreak serve --config firebreak.yaml
--
-- To prove history, any role that may read it will do: `firebreak audit verify`. Keep the block that it prints somewhere
-- that the database's administrators cannot write to; whoever can write everything could forge everything anew, but not
-- with that block still in it (`--anchor`).

\set ON_ERROR_STOP on

SELECT 'CREATE ROLE firebreak_app NOLOGIN'                                  -- what the application may do: `firebreak migrate` grants it
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firebreak_app') \gexec
SELECT format('CREATE ROLE firebreak_owner LOGIN PASSWORD %L', :'owner_password')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firebreak_owner') \gexec
SELECT format('CREATE ROLE firebreak LOGIN PASSWORD %L', :'app_password')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'firebreak') \gexec
GRANT firebreak_app TO firebreak;

-- The administrator of RDS, Aurora and Cloud SQL is no superuser, and makes a database only for a role that it is a member of.
GRANT firebreak_owner TO CURRENT_USER;
SELECT 'CREATE DATABASE firebreak OWNER firebreak_owner'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'firebreak') \gexec
